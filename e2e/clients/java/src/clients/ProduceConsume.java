package clients;

import static clients.Cluster.check;
import static clients.Cluster.equal;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.record.TimestampType;

/** What goes in comes out: codecs, headers, timestamps, sizes, acks, fetch limits. */
final class ProduceConsume {
    private static final int PARTITIONS = 3;

    private ProduceConsume() {
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** A thousand records with keys, headers and timestamps through one codec, read back equal. */
    static void codec(Cluster cluster, String codec) throws Exception {
        String topic = cluster.topic("codec-" + codec, PARTITIONS);
        int count = 1000;
        long base = 1_700_000_000_000L;
        Random random = new Random(7);
        List<byte[]> values = new ArrayList<>();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(
                Map.of("compression.type", codec, "batch.size", 64_000))) {
            for (int i = 0; i < count; i++) {
                byte[] value = bytes("value " + i + " " + "x".repeat(random.nextInt(300)));
                values.add(value);
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                    topic, i % PARTITIONS, base + i, bytes("key " + i), value);
                record.headers().add("index", bytes(Integer.toString(i))).add("null", null);
                sent.add(producer.send(record));
            }
        }
        for (int i = 0; i < count; i++) {
            equal(sent.get(i).get().offset(), (long) (i / PARTITIONS), "offset of record " + i);
            equal(sent.get(i).get().timestamp(), base + i, "timestamp of record " + i);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            consumer.assign(Cluster.partitions(topic, PARTITIONS));
            consumer.seekToBeginning(consumer.assignment());
            Map<Integer, Long> next = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : Cluster.read(consumer, count)) {
                int i = (int) record.offset() * PARTITIONS + record.partition();
                equal(record.offset(), next.getOrDefault(record.partition(), 0L), "offset");
                next.put(record.partition(), record.offset() + 1);
                check(Arrays.equals(record.value(), values.get(i)), "value of record " + i);
                check(Arrays.equals(record.key(), bytes("key " + i)), "key of record " + i);
                equal(record.timestamp(), base + i, "timestamp of record " + i);
                equal(record.timestampType(), TimestampType.CREATE_TIME, "timestamp type");
                String index = new String(record.headers().lastHeader("index").value());
                equal(index, Integer.toString(i), "header");
                equal(record.headers().lastHeader("null").value(), null, "null header");
                check(record.leaderEpoch().isPresent(), "no leader epoch in the batch");
            }
        }
    }

    /** Null and empty keys and values, a record near the limit, one beyond it. */
    static void edges(Cluster cluster) throws Exception {
        String topic = cluster.topic("edges", 1,
            Map.of("max.message.bytes", "1000000", "message.timestamp.type", "LogAppendTime"));
        byte[] large = new byte[900_000];
        new Random(1).nextBytes(large);
        long before = System.currentTimeMillis();
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(
                Map.of("max.request.size", 5_000_000, "buffer.memory", 20_000_000))) {
            producer.send(new ProducerRecord<>(topic, null, null)).get();
            producer.send(new ProducerRecord<>(topic, new byte[0], new byte[0])).get();
            producer.send(new ProducerRecord<>(topic, null, large)).get();
            Throwable error = Cluster.failure(() ->
                producer.send(new ProducerRecord<>(topic, null, new byte[1_100_000])).get());
            check(error instanceof RecordTooLargeException, "too large gave " + error);
            producer.send(new ProducerRecord<>(topic, bytes("after"), null)).get();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            consumer.assign(Cluster.partitions(topic, 1));
            List<ConsumerRecord<byte[], byte[]>> records = Cluster.read(consumer, 4);
            equal(records.size(), 4, "records");
            check(records.get(0).key() == null && records.get(0).value() == null, "nulls");
            check(records.get(1).key().length == 0 && records.get(1).value().length == 0, "empty");
            check(Arrays.equals(records.get(2).value(), large), "large value");
            check(Arrays.equals(records.get(3).key(), bytes("after")), "record after an error");
            for (ConsumerRecord<byte[], byte[]> record : records) {
                equal(record.timestampType(), TimestampType.LOG_APPEND_TIME, "timestamp type");
                check(record.timestamp() >= before - 1000, "append time " + record.timestamp());
            }
        }
    }

    static void acks(Cluster cluster) throws Exception {
        String topic = cluster.topic("acks", 1);
        for (String acks : List.of("0", "1", "all")) {
            try (KafkaProducer<byte[], byte[]> producer = cluster.producer(
                    Map.of("acks", acks, "enable.idempotence", false))) {
                for (int i = 0; i < 50; i++) {
                    RecordMetadata sent = producer.send(
                        new ProducerRecord<>(topic, bytes(acks), bytes("v" + i))).get();
                    equal(sent.hasOffset(), !acks.equals("0"), "an offset with acks=" + acks);
                }
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            consumer.assign(Cluster.partitions(topic, 1));
            equal(Cluster.read(consumer, 150).size(), 150, "records");
        }
    }

    /** Many small idempotent batches in flight, with a second producer between them. */
    static void idempotent(Cluster cluster) throws Exception {
        String topic = cluster.topic("idempotent", 1);
        Map<String, Object> config = Map.of("enable.idempotence", true, "linger.ms", 0,
            "batch.size", 200, "max.in.flight.requests.per.connection", 5);
        int count = 2000;
        try (KafkaProducer<byte[], byte[]> one = cluster.producer(config);
             KafkaProducer<byte[], byte[]> two = cluster.producer(config)) {
            for (int i = 0; i < count; i++) {
                one.send(new ProducerRecord<>(topic, bytes("one"), bytes("" + i)));
                two.send(new ProducerRecord<>(topic, bytes("two"), bytes("" + i)));
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            consumer.assign(Cluster.partitions(topic, 1));
            Map<String, Integer> next = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : Cluster.read(consumer, 2 * count)) {
                String key = new String(record.key());
                int i = Integer.parseInt(new String(record.value()));
                equal(i, next.getOrDefault(key, 0), "sequence of producer " + key);
                next.put(key, i + 1);
            }
        }
    }

    /** A first batch over every limit still comes; partition limits bound what follows. */
    static void fetchLimits(Cluster cluster) throws Exception {
        String topic = cluster.topic("limits", 2);
        byte[] value = new byte[200_000];
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(
                Map.of("batch.size", 0))) {
            for (int i = 0; i < 20; i++) {
                producer.send(new ProducerRecord<>(topic, i % 2, null, value));
            }
        }
        Map<String, Object> config = Map.of("fetch.max.bytes", 1000,
            "max.partition.fetch.bytes", 1000, "client.rack", "nowhere");
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config)) {
            consumer.assign(Cluster.partitions(topic, 2));
            equal(Cluster.read(consumer, 20).size(), 20, "records");
            TopicPartition first = new TopicPartition(topic, 0);
            consumer.assign(List.of(first));
            consumer.seek(first, 7);
            equal(Cluster.read(consumer, 3).get(0).offset(), 7L, "offset after seek");
            equal(consumer.endOffsets(List.of(first)).get(first), 10L, "end offset");
        }
    }

    /** fetch.min.bytes and fetch.max.wait.ms hold an answer back; a produce releases it. */
    static void longPoll(Cluster cluster) throws Exception {
        String topic = cluster.topic("poll", 1);
        Map<String, Object> config = Map.of("fetch.min.bytes", 1, "fetch.max.wait.ms", 4000,
            "request.timeout.ms", 20_000);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of("linger.ms", 0));
             KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config)) {
            consumer.assign(Cluster.partitions(topic, 1));
            consumer.poll(Duration.ofMillis(500));
            for (int i = 0; i < 5; i++) {
                consumer.poll(Duration.ofMillis(100));
                producer.send(new ProducerRecord<>(topic, bytes("" + i))).get();
                long sent = System.nanoTime();
                equal(new String(Cluster.read(consumer, 1).get(0).value()), "" + i, "value");
                long ms = (System.nanoTime() - sent) / 1_000_000;
                check(ms < 2000, "a waiting fetch was released after " + ms + " ms");
            }
        }
    }

    /** A topic that is not there: an error the client understands, and no endless wait. */
    static void unknownTopic(Cluster cluster) throws Exception {
        String missing = Cluster.fresh("missing");
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(
                Map.of("allow.auto.create.topics", false))) {
            TopicPartition partition = new TopicPartition(missing, 0);
            try {
                consumer.endOffsets(List.of(partition), Duration.ofSeconds(2));
                check(false, "end offset of a missing topic");
            } catch (TimeoutException | UnknownTopicOrPartitionException e) {
                check(consumer.listTopics().get(missing) == null, "the topic came to be");
            }
        }
    }
}
