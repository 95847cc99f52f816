package clients;

import static clients.Cluster.check;
import static clients.Cluster.equal;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** Transactions: consume, transform and produce, with commits, aborts and fencing. */
final class Transactions {
    private static final int COUNT = 40;
    private static final Map<String, Object> COMMITTED =
        Map.of("isolation.level", "read_committed");

    private Transactions() {
    }

    /** Every second transaction is aborted and done again: each record comes out once. */
    static void transform(Cluster cluster) throws Exception {
        String in = cluster.topic("transform-in", 1);
        String out = cluster.topic("transform-out", 2);
        fill(cluster, in);
        TopicPartition source = new TopicPartition(in, 0);
        String id = Cluster.fresh("transform");
        Map<String, Object> config = new HashMap<>(COMMITTED);
        config.put("group.id", Cluster.fresh("transform-group"));
        config.put("max.poll.records", 10);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config);
                KafkaProducer<byte[], byte[]> producer =
                    cluster.producer(Map.of("transactional.id", id))) {
            producer.initTransactions();
            consumer.assign(List.of(source));
            int next = 0;
            for (int round = 0; next < COUNT; round++) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofSeconds(10));
                check(!records.isEmpty(), "nothing came after " + next);
                producer.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    int partition = (int) (record.offset() % 2);
                    producer.send(new ProducerRecord<>(out, partition, null, record.value()));
                }
                int after = (int) consumer.position(source);
                producer.sendOffsetsToTransaction(
                    Map.of(source, new OffsetAndMetadata(after)), consumer.groupMetadata());
                if (round % 2 == 0) {
                    producer.flush();
                    producer.abortTransaction();
                    consumer.seek(source, next);
                } else {
                    producer.commitTransaction();
                    next = after;
                }
            }
            OffsetAndMetadata committed = consumer.committed(Set.of(source)).get(source);
            equal(committed.offset(), (long) COUNT, "the committed offset");
        }
        List<String> values = values(cluster, COMMITTED, out, COUNT);
        values.sort(null);
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            wanted.add(String.format("%03d", i));
        }
        equal(values, wanted, "what is committed");
        check(values(cluster, Map.of(), out, COUNT + 1).size() > COUNT, "no record is aborted");
        try (Admin admin = cluster.admin()) {
            var described = admin.describeTransactions(List.of(id)).description(id);
            Cluster.eventually("the transaction completes",
                () -> admin.describeTransactions(List.of(id)).description(id).get().state()
                    == TransactionState.COMPLETE_COMMIT);
            equal(described.get().topicPartitions().size(), 0, "open partitions");
            check(admin.listTransactions().all().get().stream()
                .anyMatch(listing -> listing.transactionalId().equals(id)), "it is not listed");
        }
    }

    /** A second producer of a transactional id ends the first one's transaction. */
    static void fenced(Cluster cluster) throws Exception {
        String topic = cluster.topic("fenced", 1);
        Map<String, Object> config = Map.of("transactional.id", Cluster.fresh("fenced"));
        try (KafkaProducer<byte[], byte[]> first = cluster.producer(config);
                KafkaProducer<byte[], byte[]> second = cluster.producer(config)) {
            first.initTransactions();
            first.beginTransaction();
            first.send(new ProducerRecord<>(topic, 0, null, bytes("first"))).get();
            second.initTransactions();
            boolean isFenced = false;
            try {
                first.commitTransaction();
            } catch (KafkaException e) {
                isFenced = true;
            }
            check(isFenced, "the first producer commits");
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 0, null, bytes("second"))).get();
            second.commitTransaction();
        }
        equal(values(cluster, COMMITTED, topic, 1), List.of("second"), "what is committed");
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void fill(Cluster cluster, String topic) {
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of())) {
            for (int i = 0; i < COUNT; i++) {
                producer.send(new ProducerRecord<>(topic, bytes(String.format("%03d", i))));
            }
        }
    }

    private static List<String> values(
            Cluster cluster, Map<String, Object> config, String topic, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config)) {
            int partitions = consumer.partitionsFor(topic).size();
            consumer.assign(Cluster.partitions(topic, partitions));
            List<String> values = new ArrayList<>();
            for (ConsumerRecord<byte[], byte[]> record : Cluster.read(consumer, count)) {
                values.add(new String(record.value(), StandardCharsets.UTF_8));
            }
            return values;
        }
    }
}
