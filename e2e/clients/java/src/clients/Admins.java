package clients;

import static clients.Cluster.check;
import static clients.Cluster.equal;
import static clients.Cluster.failure;

import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The admin client: topics, configs, the cluster and its quorum, groups, offsets. */
final class Admins {
    private Admins() {
    }

    static void topics(Cluster cluster) throws Exception {
        String name = Cluster.fresh("admin");
        NewTopic topic = new NewTopic(name, 3, cluster.replication)
            .configs(Map.of("retention.ms", "3600000"));
        try (Admin admin = cluster.admin()) {
            var created = admin.createTopics(List.of(topic));
            Uuid id = created.topicId(name).get();
            equal(created.numPartitions(name).get(), 3, "partitions created");
            equal(created.config(name).get().get("retention.ms").value(), "3600000", "config");
            refusals(admin, name, cluster.replication);
            TopicDescription description = describe(admin, name);
            equal(description.topicId(), id, "topic id");
            equal(description.partitions().size(), 3, "partitions");
            for (TopicPartitionInfo partition : description.partitions()) {
                equal(partition.replicas().size(), (int) cluster.replication, "replicas");
                check(partition.leader() != null, "no leader");
            }
            Cluster.eventually("listed", () -> admin.listTopics().names().get().contains(name));
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all().get();
            Cluster.eventually("five partitions",
                () -> describe(admin, name).partitions().size() == 5);
            Throwable fewer = failure(() ->
                admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all().get());
            check(fewer instanceof InvalidPartitionsException, "fewer partitions: " + fewer);
            admin.deleteTopics(List.of(name)).all().get();
            Cluster.eventually("gone", () -> !admin.listTopics().names().get().contains(name));
            Throwable gone = failure(() -> admin.deleteTopics(List.of(name)).all().get());
            check(gone instanceof UnknownTopicOrPartitionException, "second delete: " + gone);
            admin.createTopics(List.of(topic)).all().get();
            Cluster.eventually("another id than that of the deleted topic",
                () -> !describe(admin, name).topicId().equals(id));
        }
    }

    private static void refusals(Admin admin, String name, short replication) throws Exception {
        Throwable again = failure(() -> admin.createTopics(
            List.of(new NewTopic(name, 1, replication))).all().get());
        check(again instanceof TopicExistsException, "create again: " + again);
        Throwable wide = failure(() -> admin.createTopics(
            List.of(new NewTopic(Cluster.fresh("wide"), 1, (short) 100))).all().get());
        check(wide instanceof InvalidReplicationFactorException, "too wide: " + wide);
        Throwable bad = failure(() -> admin.createTopics(
            List.of(new NewTopic("bad/name", 1, replication))).all().get());
        check(bad instanceof InvalidTopicException, "bad name: " + bad);
        Throwable config = failure(() -> admin.createTopics(List.of(
            new NewTopic(Cluster.fresh("cfg"), 1, replication)
                .configs(Map.of("no.such.key", "1")))).all().get());
        check(config instanceof InvalidConfigurationException, "bad config: " + config);
    }

    private static TopicDescription describe(Admin admin, String name) throws Exception {
        TopicDescription[] found = new TopicDescription[1];
        Cluster.eventually("a description of " + name, () -> {
            found[0] = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
            return true;
        });
        return found[0];
    }

    static void configs(Cluster cluster) throws Exception {
        String name = cluster.topic("configs", 1, Map.of("segment.bytes", "10485760"));
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
        try (Admin admin = cluster.admin()) {
            ConfigEntry set = config(admin, topic).get("segment.bytes");
            equal(set.value(), "10485760", "segment.bytes");
            equal(set.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
            equal(config(admin, topic).get("retention.ms").value(), "604800000", "default");
            alter(admin, topic, "retention.ms", "60000", AlterConfigOp.OpType.SET);
            alter(admin, topic, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
            Cluster.eventually("the new retention",
                () -> config(admin, topic).get("retention.ms").value().equals("60000"));
            Cluster.eventually("the appended policy", () ->
                config(admin, topic).get("cleanup.policy").value().equals("delete,compact"));
            alter(admin, topic, "cleanup.policy", "compact", AlterConfigOp.OpType.SUBTRACT);
            alter(admin, topic, "retention.ms", null, AlterConfigOp.OpType.DELETE);
            Cluster.eventually("the default again",
                () -> config(admin, topic).get("retention.ms").isDefault());
            Throwable bad = failure(() -> {
                alter(admin, topic, "retention.ms", "soon", AlterConfigOp.OpType.SET);
                return null;
            });
            check(bad instanceof InvalidConfigurationException, "bad value: " + bad);
            brokerConfigs(admin);
        }
    }

    private static void brokerConfigs(Admin admin) throws Exception {
        String id = admin.describeCluster().nodes().get().iterator().next().idString();
        Config broker = config(admin, new ConfigResource(ConfigResource.Type.BROKER, id));
        equal(broker.get("node.id").value(), id, "node.id");
        check(broker.get("log.segment.bytes") != null, "log.segment.bytes");
        check(broker.get("replica.lag.time.max.ms") != null, "replica.lag.time.max.ms");
    }

    private static Config config(Admin admin, ConfigResource resource) throws Exception {
        Config[] found = new Config[1];
        Cluster.eventually("the configs of " + resource, () -> {
            found[0] = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            return true;
        });
        return found[0];
    }

    private static void alter(Admin admin, ConfigResource resource, String key, String value,
            AlterConfigOp.OpType type) throws Exception {
        Collection<AlterConfigOp> ops =
            List.of(new AlterConfigOp(new ConfigEntry(key, value), type));
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
    }

    static void cluster(Cluster cluster) throws Exception {
        try (Admin admin = cluster.admin()) {
            DescribeClusterResult described = admin.describeCluster();
            check(described.clusterId().get().length() == 22, "cluster id");
            check(described.controller().get() != null, "controller");
            check(described.nodes().get().size() >= cluster.replication, "nodes");
            QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
            Set<Integer> voters = new HashSet<>();
            quorum.voters().forEach(v -> voters.add(v.replicaId()));
            check(voters.contains(quorum.leaderId()), "the quorum's leader is not a voter");
            check(quorum.leaderEpoch() > 0, "the quorum's epoch");
            check(quorum.highWatermark() > 0, "the quorum's high watermark");
            String name = cluster.topic("elect", 1);
            TopicPartition partition = new TopicPartition(name, 0);
            Map<TopicPartition, Optional<Throwable>> elected = admin.electLeaders(
                ElectionType.PREFERRED, Set.of(partition)).partitions().get();
            check(elected.get(partition).orElse(null) instanceof ElectionNotNeededException,
                "election of the leader in place: " + elected);
            check(admin.describeFeatures().featureMetadata().get() != null, "features");
        }
    }

    static void groups(Cluster cluster) throws Exception {
        String topic = cluster.topic("groups", 2);
        String group = Cluster.fresh("groups");
        Map<String, Object> config = Map.of("group.id", group, "client.id", "the-client");
        try (Admin admin = cluster.admin()) {
            try (Member member = new Member(cluster, topic, config, record -> { })) {
                Cluster.eventually("an assignment", () -> member.owned.size() == 2);
                ConsumerGroupDescription live = description(admin, group);
                equal(live.groupState(), GroupState.STABLE, "state");
                equal(live.members().size(), 1, "members");
                var described = live.members().iterator().next();
                equal(described.clientId(), "the-client", "client id");
                equal(described.assignment().topicPartitions().size(), 2, "assignment");
                Cluster.eventually("listed", () -> admin.listGroups().all().get().stream()
                    .anyMatch(g -> g.groupId().equals(group)));
                Throwable busy = failure(() ->
                    admin.deleteConsumerGroups(List.of(group)).all().get());
                check(busy instanceof GroupNotEmptyException, "delete a live group: " + busy);
                Cluster.eventually("committed", () -> committed(admin, group).size() == 2);
            }
            equal(description(admin, group).groupState(), GroupState.EMPTY, "state");
            TopicPartition zero = new TopicPartition(topic, 0);
            admin.alterConsumerGroupOffsets(group, Map.of(zero,
                new org.apache.kafka.clients.consumer.OffsetAndMetadata(5))).all().get();
            equal(committed(admin, group).get(zero).offset(), 5L, "altered offset");
            admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
            check(!committed(admin, group).containsKey(zero), "the deleted offset");
            admin.deleteConsumerGroups(List.of(group)).all().get();
            Throwable gone = failure(() -> description(admin, group));
            check(gone instanceof GroupIdNotFoundException, "describe the deleted: " + gone);
        }
    }

    private static ConsumerGroupDescription description(Admin admin, String group)
            throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    private static Map<TopicPartition, org.apache.kafka.clients.consumer.OffsetAndMetadata>
            committed(Admin admin, String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    static void offsets(Cluster cluster) throws Exception {
        String topic = cluster.topic("list", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of());
             Admin admin = cluster.admin()) {
            for (long timestamp : List.of(100L, 300L, 200L)) {
                producer.send(new ProducerRecord<>(topic, 0, timestamp, null, new byte[1])).get();
            }
            equal(offset(admin, partition, OffsetSpec.earliest()).offset(), 0L, "earliest");
            equal(offset(admin, partition, OffsetSpec.latest()).offset(), 3L, "latest");
            ListOffsetsResultInfo max = offset(admin, partition, OffsetSpec.maxTimestamp());
            equal(max.offset(), 1L, "offset of the greatest timestamp");
            equal(max.timestamp(), 300L, "the greatest timestamp");
            equal(offset(admin, partition, OffsetSpec.forTimestamp(150)).offset(), 1L, "by time");
            equal(offset(admin, partition, OffsetSpec.forTimestamp(301)).offset(), -1L, "beyond");
        }
    }

    private static ListOffsetsResultInfo offset(Admin admin, TopicPartition partition,
            OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
    }
}
