package clients;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes and reads with the client's default settings until standard input closes:
 * {@code Gaps BOOTSTRAP TOPIC PARTITIONS RATE FILE}. The file gets one line per event: {@code W}
 * (acknowledged) or {@code R} (read), the time in nanoseconds since 1970, the partition.
 */
public final class Gaps {
    private static final AtomicBoolean STOP = new AtomicBoolean();
    private static final AtomicLong FAILED = new AtomicLong();

    private Gaps() {
    }

    private static synchronized void note(PrintWriter journal, String kind, int partition) {
        Instant now = Instant.now();
        long ns = now.getEpochSecond() * 1_000_000_000L + now.getNano();
        journal.println(kind + " " + ns + " " + partition);
    }

    private static void read(String bootstrap, String topic, PrintWriter journal) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap,
            "group.id", "gaps-" + ProcessHandle.current().pid(), "auto.offset.reset", "earliest");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            consumer.subscribe(List.of(topic));
            while (!STOP.get()) {
                consumer.poll(Duration.ofMillis(100))
                    .forEach(record -> note(journal, "R", record.partition()));
            }
        }
    }

    private static void write(String bootstrap, String topic, int partitions, long pauseNs,
            PrintWriter journal) {
        ByteArraySerializer bytes = new ByteArraySerializer();
        byte[] value = "x".repeat(100).getBytes(StandardCharsets.UTF_8);
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, bytes, bytes)) {
            long next = System.nanoTime();
            while (!STOP.get()) {
                for (int p = 0; p < partitions; p++) {
                    int partition = p;
                    ProducerRecord<byte[], byte[]> record =
                        new ProducerRecord<>(topic, p, null, value);
                    producer.send(record, (metadata, error) -> {
                        if (error == null) {
                            note(journal, "W", partition);
                        } else {
                            FAILED.incrementAndGet();
                            System.err.println("not acknowledged: " + partition + ": " + error);
                        }
                    });
                }
                next += pauseNs;
                LockSupport.parkNanos(next - System.nanoTime());
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is said on it; its end is the message.
                }
            } catch (IOException e) {
                System.err.println("standard input: " + e);
            }
            STOP.set(true);
        });
        input.setDaemon(true);
        input.start();
        Path file = Path.of(args[4]);
        try (PrintWriter journal = new PrintWriter(Files.newBufferedWriter(file), true)) {
            Thread reader = new Thread(() -> read(args[0], args[1], journal));
            reader.start();
            long pauseNs = 1_000_000_000L / Integer.parseInt(args[3]);
            write(args[0], args[1], Integer.parseInt(args[2]), pauseNs, journal);
            reader.join();
        }
        System.out.println("failed " + FAILED.get());
    }
}
