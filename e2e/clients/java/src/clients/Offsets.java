package clients;

import static clients.Cluster.equal;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Offsets by timestamp, committed offsets and what happens without one. */
final class Offsets {
    private Offsets() {
    }

    private static String filled(Cluster cluster, int partitions, int each) throws Exception {
        String topic = cluster.topic("offsets", partitions);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(
                Map.of("compression.type", "lz4"))) {
            for (int i = 0; i < each; i++) {
                for (int p = 0; p < partitions; p++) {
                    long timestamp = 1_600_000_000_000L + 1000L * i;
                    producer.send(new ProducerRecord<>(topic, p, timestamp, null, new byte[20]));
                }
            }
        }
        return topic;
    }

    /** The first offset at or after a time, inside batches as well as at their edges. */
    static void byTime(Cluster cluster) throws Exception {
        int each = 400;
        String topic = filled(cluster, 2, each);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            List<TopicPartition> partitions = Cluster.partitions(topic, 2);
            for (int i : List.of(0, 1, 7, 199, 200, each - 1)) {
                for (int before : List.of(0, 1, 999)) {
                    Map<TopicPartition, Long> query = new HashMap<>();
                    long wanted = 1_600_000_000_000L + 1000L * i;
                    partitions.forEach(p -> query.put(p, wanted - before));
                    Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(query);
                    for (TopicPartition p : partitions) {
                        equal(found.get(p).offset(), (long) i, "offset for time");
                        equal(found.get(p).timestamp(), wanted, "its timestamp");
                    }
                }
            }
            Map<TopicPartition, Long> future = new HashMap<>();
            partitions.forEach(p -> future.put(p, 1_600_000_000_001L + 1000L * (each - 1)));
            consumer.offsetsForTimes(future).forEach((p, o) -> equal(o, null, "after the end"));
            consumer.beginningOffsets(partitions).forEach((p, o) -> equal(o, 0L, "beginning"));
            consumer.endOffsets(partitions).forEach((p, o) -> equal(o, (long) each, "end"));
        }
    }

    /** Committed offsets with metadata outlive the consumer, and a successor resumes there. */
    static void commitAndResume(Cluster cluster) throws Exception {
        String topic = filled(cluster, 2, 50);
        Map<String, Object> config = Map.of("group.id", Cluster.fresh("resume"));
        TopicPartition zero = new TopicPartition(topic, 0);
        TopicPartition one = new TopicPartition(topic, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config)) {
            consumer.subscribe(List.of(topic));
            Cluster.read(consumer, 100);
            consumer.commitSync(Map.of(
                zero, new OffsetAndMetadata(10, Optional.of(0), "where I was"),
                one, new OffsetAndMetadata(45)));
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config)) {
            Map<TopicPartition, OffsetAndMetadata> committed =
                consumer.committed(Set.of(zero, one));
            equal(committed.get(zero).metadata(), "where I was", "metadata");
            equal(committed.get(zero).offset(), 10L, "committed");
            equal(committed.get(one).offset(), 45L, "committed");
            consumer.subscribe(List.of(topic));
            equal(Cluster.read(consumer, 45).size(), 45, "records after the resume");
            consumer.commitSync();
            consumer.committed(Set.of(zero, one))
                .forEach((p, o) -> equal(o.offset(), 50L, "commit of the position"));
        }
    }

    /** Without a committed offset: none refuses, latest skips, an offset out of range resets. */
    static void resetPolicy(Cluster cluster) throws Exception {
        String topic = filled(cluster, 1, 20);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of(
                "group.id", Cluster.fresh("none"), "auto.offset.reset", "none"))) {
            consumer.assign(List.of(partition));
            try {
                consumer.poll(Duration.ofSeconds(10));
                throw new AssertionError("a poll without an offset succeeded");
            } catch (NoOffsetForPartitionException e) {
                equal(e.partitions(), Set.of(partition), "partitions without an offset");
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(
                Map.of("auto.offset.reset", "latest"))) {
            consumer.assign(List.of(partition));
            equal(consumer.position(partition), 20L, "latest");
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1_000_000);
            equal(Cluster.read(consumer, 20).get(0).offset(), 0L, "reset to the earliest");
        }
    }
}
