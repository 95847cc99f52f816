package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;

/**
 * Groups of the consumer protocol (KIP-848). They need short sessions, which brokers set: run by
 * name, on a cluster that has them.
 */
final class ConsumerGroups {
    private ConsumerGroups() {
    }

    private static Map<String, Object> config(String group) {
        return Map.of("group.id", group, "group.protocol", "consumer");
    }

    /** Members that join and leave, and one that is killed; every record is read. */
    static void crash(Cluster cluster) throws Exception {
        String topic = cluster.topic("next", Groups.PARTITIONS);
        String group = Cluster.fresh("next");
        Set<String> got = ConcurrentHashMap.newKeySet();
        try (Member one = new Member(cluster, topic, config(group), Groups.add(got))) {
            Groups.settled(List.of(one), Groups.PARTITIONS);
            Groups.send(cluster, topic, 0, 60);
            try (Member two = new Member(cluster, topic, config(group), Groups.add(got))) {
                Groups.settled(List.of(one, two), 3);
                described(cluster, group, 2);
                Groups.send(cluster, topic, 60, 120);
                Cluster.eventually("records of two", () -> got.size() == 120);
            }
            Groups.settled(List.of(one), Groups.PARTITIONS);
            Process victim = Groups.spawn(cluster.bootstrap, topic, group, "consumer");
            Groups.killOnceItOwns(victim, "3");
            Groups.settled(List.of(one), Groups.PARTITIONS);
            Groups.send(cluster, topic, 120, 180);
            Cluster.eventually("records at the end", () -> got.size() == 180);
        }
    }

    private static void described(Cluster cluster, String group, int members) throws Exception {
        try (Admin admin = cluster.admin()) {
            Cluster.eventually("a stable group", () -> {
                var found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                return found.type() == GroupType.CONSUMER
                    && found.groupState() == GroupState.STABLE
                    && found.members().size() == members
                    && found.partitionAssignor().equals("uniform");
            });
        }
    }

    /** Three members are restarted one after the other, as a deployment does it. */
    static void rolling(Cluster cluster) throws Exception {
        String topic = cluster.topic("rolled", Groups.PARTITIONS);
        String group = Cluster.fresh("rolled");
        Set<String> got = ConcurrentHashMap.newKeySet();
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            members.add(new Member(cluster, topic, config(group), Groups.add(got)));
        }
        Groups.settled(members, 2);
        for (int i = 0; i < 3; i++) {
            Groups.send(cluster, topic, i * 60, i * 60 + 30);
            members.get(i).close();
            Groups.send(cluster, topic, i * 60 + 30, i * 60 + 60);
            members.set(i, new Member(cluster, topic, config(group), Groups.add(got)));
            Groups.settled(members, 2);
        }
        Cluster.eventually("all records", () -> got.size() == 180);
        for (Member member : members) {
            member.close();
        }
    }

    /** An expression stands for topics that come later, too. */
    static void expression(Cluster cluster) throws Exception {
        String first = cluster.topic("expressed", 2);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(
                config(Cluster.fresh("expressed")))) {
            consumer.subscribe(new SubscriptionPattern(".*expressed.*"));
            Cluster.eventually("the first topic", () -> {
                consumer.poll(java.time.Duration.ofMillis(100));
                return consumer.assignment().stream().anyMatch(p -> p.topic().equals(first));
            });
            String second = cluster.topic("expressed", 2);
            Cluster.eventually("the second topic", () -> {
                consumer.poll(java.time.Duration.ofMillis(100));
                return consumer.assignment().size() >= 4
                    && consumer.assignment().stream().anyMatch(p -> p.topic().equals(second));
            });
        }
    }
}
