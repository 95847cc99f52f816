package clients;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/**
 * Continuous idempotent writes with acks=all: {@code Load BOOTSTRAP TOPIC PARTITIONS RATE FILE},
 * until standard input closes. The file gets one line per acknowledged record: time in
 * nanoseconds, partition, sequence, offset. Timeouts and backoffs are small, so that the gap which
 * this client sees when a leader fails is the cluster's and not its own.
 */
public final class Load {
    private final BufferedWriter journal;
    private long acknowledged;
    private long failed;

    private Load(BufferedWriter journal) {
        this.journal = journal;
    }

    private synchronized void done(int partition, long sequence, RecordMetadata metadata,
            Exception error) {
        if (error != null) {
            failed++;
            System.err.println("not acknowledged: " + partition + "/" + sequence + ": " + error);
            return;
        }
        Instant now = Instant.now();
        long ns = now.getEpochSecond() * 1_000_000_000L + now.getNano();
        try {
            journal.write(ns + " " + partition + " " + sequence + " " + metadata.offset() + "\n");
            if (acknowledged++ == 0) {
                // The first line tells the harness that the load runs.
                journal.flush();
            }
        } catch (IOException e) {
            failed++;
            System.err.println("journal: " + e);
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(String bootstrap) {
        return new Cluster(bootstrap, (short) 1).producer(Map.ofEntries(
            Map.entry("acks", "all"),
            Map.entry("enable.idempotence", true),
            Map.entry("linger.ms", 0),
            Map.entry("request.timeout.ms", 600),
            Map.entry("delivery.timeout.ms", 120_000),
            Map.entry("max.block.ms", 60_000),
            Map.entry("retry.backoff.ms", 20),
            Map.entry("retry.backoff.max.ms", 20),
            Map.entry("reconnect.backoff.ms", 20),
            Map.entry("reconnect.backoff.max.ms", 50),
            Map.entry("socket.connection.setup.timeout.ms", 300),
            Map.entry("socket.connection.setup.timeout.max.ms", 300),
            Map.entry("metadata.max.age.ms", 200)));
    }

    public static void main(String[] args) throws Exception {
        int partitions = Integer.parseInt(args[2]);
        long pauseNs = 1_000_000_000L / Integer.parseInt(args[3]);
        AtomicBoolean stop = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is said on it; its end is the message.
                }
            } catch (IOException e) {
                System.err.println("standard input: " + e);
            }
            stop.set(true);
        });
        input.setDaemon(true);
        input.start();
        byte[] padding = ".".repeat(80).getBytes(StandardCharsets.UTF_8);
        Load load;
        try (BufferedWriter journal = Files.newBufferedWriter(Path.of(args[4]))) {
            load = new Load(journal);
            try (KafkaProducer<byte[], byte[]> producer = producer(args[0])) {
                long next = System.nanoTime();
                for (long sequence = 0; !stop.get(); sequence++) {
                    byte[] value = (sequence + " " + new String(padding)).getBytes();
                    for (int p = 0; p < partitions; p++) {
                        int partition = p;
                        long number = sequence;
                        producer.send(new ProducerRecord<>(args[1], p, null, value),
                            (metadata, error) -> load.done(partition, number, metadata, error));
                    }
                    next += pauseNs;
                    LockSupport.parkNanos(next - System.nanoTime());
                }
            }
        }
        System.out.println("acknowledged " + load.acknowledged + " failed " + load.failed);
        System.exit(load.failed == 0 ? 0 : 1);
    }
}
