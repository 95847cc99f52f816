package clients;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The cluster under test: how to reach it, fresh names, and clients with short timeouts. */
final class Cluster {
    private static final AtomicInteger NAMES = new AtomicInteger();
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    final String bootstrap;
    final short replication;

    Cluster(String bootstrap, short replication) {
        this.bootstrap = bootstrap;
        this.replication = replication;
    }

    static String fresh(String what) {
        return "java-" + what + "-" + RUN + "-" + NAMES.incrementAndGet();
    }

    Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    String topic(String what, int partitions) throws Exception {
        return topic(what, partitions, Map.of());
    }

    String topic(String what, int partitions, Map<String, String> configs) throws Exception {
        String name = fresh(what);
        try (Admin admin = admin()) {
            NewTopic topic = new NewTopic(name, partitions, replication).configs(configs);
            admin.createTopics(List.of(topic)).all().get();
        }
        return name;
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, Object> extra) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("linger.ms", 5);
        config.put("delivery.timeout.ms", 30_000);
        config.put("request.timeout.ms", 10_000);
        config.putAll(extra);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> extra) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        config.putAll(extra);
        return new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Reads until {@code count} records came, or fails after half a minute. */
    static List<ConsumerRecord<byte[], byte[]>> read(
            KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.currentTimeMillis() + 30_000;
        while (records.size() < count) {
            check(System.currentTimeMillis() < deadline,
                "only " + records.size() + " of " + count + " records came");
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        return records;
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            partitions.add(new TopicPartition(topic, i));
        }
        return partitions;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object got, Object wanted, String what) {
        check(wanted == null ? got == null : wanted.equals(got),
            what + ": got " + got + ", wanted " + wanted);
    }

    /**
     * Waits until the condition holds; metadata reaches brokers one after the other, so a call
     * that fails (a topic is not known yet) is a "not yet".
     */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.currentTimeMillis() + 20_000;
        while (true) {
            Throwable last = null;
            try {
                if (condition.call()) {
                    return;
                }
            } catch (ExecutionException e) {
                last = e.getCause();
            }
            check(System.currentTimeMillis() < deadline,
                "never happened: " + what + (last == null ? "" : " (last error: " + last + ")"));
            Thread.sleep(50);
        }
    }

    /** The exception that the call's future ended with; fails if it succeeded. */
    static Throwable failure(Callable<?> call) throws Exception {
        try {
            Object value = call.call();
            throw new AssertionError("succeeded with " + value + " where an error was due");
        } catch (ExecutionException e) {
            return e.getCause();
        }
    }
}
