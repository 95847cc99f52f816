package clients;

import static clients.Cluster.check;
import static clients.Cluster.equal;
import static clients.Cluster.failure;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.UnsupportedByAuthenticationException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/**
 * Features that a cluster may not have: reading them finds nothing, using them either works or
 * fails at once with a reason.
 */
final class Absent {
    /** A client that is told nothing waits for a minute and more. */
    private static final long SOON_MS = 15_000;

    private Absent() {
    }

    static void reads(Cluster cluster) throws Exception {
        String topic = cluster.topic("absent", 1);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of())) {
            producer.send(new ProducerRecord<>(topic, new byte[1])).get();
        }
        try (Admin admin = cluster.admin()) {
            Throwable rules =
                failure(() -> admin.describeAcls(AclBindingFilter.ANY).values().get());
            check(rules instanceof SecurityDisabledException, "rules: " + rules);
            equal(admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().size(), 0,
                "quotas");
            equal(admin.describeUserScramCredentials().all().get().size(), 0, "users");
            Throwable tokens =
                failure(() -> admin.describeDelegationToken().delegationTokens().get());
            check(tokens instanceof UnsupportedByAuthenticationException, "tokens: " + tokens);
            TopicPartition partition = new TopicPartition(topic, 0);
            var producers = admin.describeProducers(List.of(partition)).all().get();
            equal(producers.get(partition).activeProducers().size(), 1, "producers");
            check(!admin.listConfigResources().all().get().isEmpty(), "config resources");
            String id = admin.describeCluster().nodes().get().iterator().next().idString();
            for (ConfigResource resource : List.of(
                    new ConfigResource(ConfigResource.Type.BROKER_LOGGER, id),
                    new ConfigResource(ConfigResource.Type.GROUP, "any"),
                    new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "any"))) {
                var configs = admin.describeConfigs(List.of(resource)).all().get();
                check(!configs.get(resource).entries().isEmpty(), "nothing of " + resource);
            }
        }
    }

    static void consumerProtocol(Cluster cluster) throws Exception {
        String topic = cluster.topic("protocol", 1);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of())) {
            producer.send(new ProducerRecord<>(topic, new byte[1])).get();
        }
        Map<String, Object> config =
            Map.of("group.id", Cluster.fresh("protocol"), "group.protocol", "consumer");
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(config)) {
            consumer.subscribe(List.of(topic));
            worksOrFailsSoon(() -> {
                long deadline = System.currentTimeMillis() + 2 * SOON_MS;
                while (System.currentTimeMillis() < deadline
                        && consumer.poll(Duration.ofMillis(100)).isEmpty()) {
                }
            }, UnsupportedVersionException.class);
        }
    }

    private static void worksOrFailsSoon(Runnable use, Class<? extends Exception> refusal) {
        long start = System.currentTimeMillis();
        try {
            use.run();
        } catch (RuntimeException refused) {
            check(refusal.isInstance(refused), "an error that says nothing: " + refused);
        }
        long took = System.currentTimeMillis() - start;
        check(took < SOON_MS, "it took " + took + " ms to say so");
    }
}
