package clients;

import static clients.Cluster.check;
import static clients.Cluster.equal;

import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Consumer groups: members join, leave, crash and come back under their instance id. */
final class Groups {
    static final int PARTITIONS = 6;
    private static final String EAGER = "org.apache.kafka.clients.consumer.RangeAssignor";
    private static final String COOPERATIVE =
        "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

    private Groups() {
    }

    private static Map<String, Object> config(String group, String assignor) {
        return Map.of("group.id", group, "partition.assignment.strategy", assignor);
    }

    /** Every partition has exactly one owner among the members, and each has its share. */
    static void settled(List<Member> members, int most) throws Exception {
        Cluster.eventually("an even assignment over " + members.size(), () -> {
            Set<TopicPartition> seen = new HashSet<>();
            int total = 0;
            for (Member member : members) {
                if (member.failure != null) {
                    throw new AssertionError("a member failed", member.failure);
                }
                if (member.owned.size() > most) {
                    return false;
                }
                total += member.owned.size();
                seen.addAll(member.owned);
            }
            return total == PARTITIONS && seen.size() == PARTITIONS;
        });
    }

    private static void joinsAndLeaves(Cluster cluster, String assignor) throws Exception {
        String topic = cluster.topic("group", PARTITIONS);
        String group = Cluster.fresh("group");
        Set<String> got = ConcurrentHashMap.newKeySet();
        try (Member one = new Member(cluster, topic, config(group, assignor), add(got))) {
            settled(List.of(one), PARTITIONS);
            send(cluster, topic, 0, 60);
            try (Member two = new Member(cluster, topic, config(group, assignor), add(got))) {
                settled(List.of(one, two), 3);
                send(cluster, topic, 60, 120);
                try (Member three = new Member(cluster, topic, config(group, assignor), add(got))) {
                    settled(List.of(one, two, three), 2);
                    send(cluster, topic, 120, 180);
                    Cluster.eventually("all records while three", () -> got.size() == 180);
                }
                settled(List.of(one, two), 3);
            }
            settled(List.of(one), PARTITIONS);
            send(cluster, topic, 180, 240);
            Cluster.eventually("all records at the end", () -> got.size() == 240);
        }
    }

    static java.util.function.Consumer<ConsumerRecord<byte[], byte[]>> add(
            Set<String> got) {
        return record -> got.add(new String(record.value(), StandardCharsets.UTF_8));
    }

    static void send(Cluster cluster, String topic, int from, int to) {
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of())) {
            for (int i = from; i < to; i++) {
                byte[] value = Integer.toString(i).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, value));
            }
        }
    }

    static void eager(Cluster cluster) throws Exception {
        joinsAndLeaves(cluster, EAGER);
    }

    /** As eager, and a member keeps polling what it keeps: it revokes only what it gives up. */
    static void cooperative(Cluster cluster) throws Exception {
        joinsAndLeaves(cluster, COOPERATIVE);
        String topic = cluster.topic("incremental", PARTITIONS);
        Map<String, Object> config = config(Cluster.fresh("incremental"), COOPERATIVE);
        try (Member one = new Member(cluster, topic, config, record -> { })) {
            settled(List.of(one), PARTITIONS);
            Set<TopicPartition> before = Set.copyOf(one.owned);
            try (Member two = new Member(cluster, topic, config, record -> { })) {
                settled(List.of(one, two), 3);
                check(before.containsAll(one.owned), "the first member was given others");
            }
            equal(one.revocations.get(), 1, "revocations of the first member");
            equal(one.lost.get(), 0, "partitions lost");
        }
    }

    /** A static member that restarts gets its partitions back without a rebalance. */
    static void staticMembers(Cluster cluster) throws Exception {
        String topic = cluster.topic("static", PARTITIONS);
        String group = Cluster.fresh("static");
        Map<String, Object> a = new HashMap<>(config(group, EAGER));
        Map<String, Object> b = new HashMap<>(a);
        a.put("group.instance.id", "a");
        b.put("group.instance.id", "b");
        try (Member first = new Member(cluster, topic, a, record -> { })) {
            settled(List.of(first), PARTITIONS);
            Set<TopicPartition> owned;
            int generation;
            try (Member second = new Member(cluster, topic, b, record -> { })) {
                settled(List.of(first, second), 3);
                owned = Set.copyOf(second.owned);
                Cluster.eventually("one generation",
                    () -> first.generation == second.generation);
                generation = second.generation;
            }
            int rebalances = first.assignments.get();
            try (Member again = new Member(cluster, topic, b, record -> { })) {
                settled(List.of(first, again), 3);
                equal(Set.copyOf(again.owned), owned, "partitions of the returned member");
                Cluster.eventually("a generation", () -> again.generation > 0);
                equal(again.generation, generation, "generation after the return");
                equal(first.assignments.get(), rebalances, "rebalances seen by the other");
            }
            // Gone for longer than its session: the other takes over all of it.
            settled(List.of(first), PARTITIONS);
        }
    }

    /** A member that dies without a word is expelled when its session ends. */
    static void crash(Cluster cluster) throws Exception {
        for (String assignor : List.of(EAGER, COOPERATIVE)) {
            String topic = cluster.topic("crash", PARTITIONS);
            String group = Cluster.fresh("crash");
            try (Member one = new Member(cluster, topic, config(group, assignor), r -> { })) {
                settled(List.of(one), PARTITIONS);
                Process victim = spawn(cluster.bootstrap, topic, group, assignor);
                killOnceItOwns(victim, "3");
                settled(List.of(one), PARTITIONS);
            }
        }
    }

    /** A process that never comes to own its share ends the wait by its own end. */
    static void killOnceItOwns(Process victim, String share) throws Exception {
        CompletableFuture.delayedExecutor(60, TimeUnit.SECONDS).execute(victim::destroyForcibly);
        try (BufferedReader output = victim.inputReader()) {
            String line = output.readLine();
            while (line != null && !line.equals(share)) {
                line = output.readLine();
            }
            equal(line, share, "partitions of the process to be killed");
        } finally {
            victim.destroyForcibly().waitFor();
        }
    }

    static Process spawn(String... args) throws Exception {
        List<String> command = new java.util.ArrayList<>(List.of(
            ProcessHandle.current().info().command().orElse("java"), "-Xmx128m",
            "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"),
            "clients.Member"));
        command.addAll(List.of(args));
        return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    }
}
