package clients;

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/** One group member polling on its own thread; also a process of its own, to be killed. */
final class Member implements AutoCloseable, ConsumerRebalanceListener {
    final Set<TopicPartition> owned = ConcurrentHashMap.newKeySet();
    final AtomicInteger assignments = new AtomicInteger();
    final AtomicInteger revocations = new AtomicInteger();
    final AtomicInteger lost = new AtomicInteger();
    volatile Throwable failure;
    volatile int generation;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Thread thread;
    private volatile boolean stop;

    Member(Cluster cluster, String topic, Map<String, Object> config,
            Consumer<ConsumerRecord<byte[], byte[]>> sink) {
        Map<String, Object> all = new HashMap<>(Map.of("max.poll.interval.ms", 10_000));
        if (!"consumer".equals(config.get("group.protocol"))) {
            all.put("session.timeout.ms", 6000);
            all.put("heartbeat.interval.ms", 500);
        }
        all.putAll(config);
        consumer = cluster.consumer(all);
        thread = new Thread(() -> loop(topic, sink), "member");
        thread.setDaemon(true);
        thread.start();
    }

    private void loop(String topic, Consumer<ConsumerRecord<byte[], byte[]>> sink) {
        try (consumer) {
            consumer.subscribe(List.of(topic), this);
            while (!stop) {
                consumer.poll(Duration.ofMillis(100)).forEach(sink);
                generation = consumer.groupMetadata().generationId();
                if (!owned.isEmpty()) {
                    consumer.commitAsync((offsets, error) -> { });
                }
            }
        } catch (WakeupException e) {
            failure = stop ? null : e;
        } catch (Throwable e) {
            failure = e;
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        owned.addAll(partitions);
        assignments.incrementAndGet();
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        owned.removeAll(partitions);
        revocations.incrementAndGet();
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        owned.removeAll(partitions);
        lost.incrementAndGet();
    }

    @Override
    public void close() throws InterruptedException {
        stop = true;
        consumer.wakeup();
        thread.join(15_000);
        if (failure != null) {
            throw new AssertionError("a member failed", failure);
        }
    }

    /**
     * {@code Member BOOTSTRAP TOPIC GROUP ASSIGNOR}: prints what it owns until it is killed. The
     * assignor {@code consumer} stands for the consumer protocol.
     */
    public static void main(String[] args) throws Exception {
        Cluster cluster = new Cluster(args[0], (short) 1);
        Map<String, Object> config = args[3].equals("consumer")
            ? Map.of("group.id", args[2], "group.protocol", "consumer")
            : Map.of("group.id", args[2], "partition.assignment.strategy", args[3]);
        Member member = new Member(cluster, args[1], config, record -> { });
        while (member.failure == null) {
            System.out.println(member.owned.size());
            Thread.sleep(100);
        }
        System.exit(1);
    }
}
