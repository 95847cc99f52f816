package clients;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The official Java client against a cluster: {@code Scenarios BOOTSTRAP REPLICATION [NAME...]}.
 * Prints one PASS or FAIL line per scenario and ends non-zero if any failed.
 */
public final class Scenarios {
    /** One scenario: throws if the cluster did not behave. */
    interface Scenario {
        void run(Cluster cluster) throws Exception;
    }

    private Scenarios() {
    }

    private static Map<String, Scenario> all() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            all.put("codec-" + codec, c -> ProduceConsume.codec(c, codec));
        }
        all.put("edges", ProduceConsume::edges);
        all.put("acks", ProduceConsume::acks);
        all.put("idempotent", ProduceConsume::idempotent);
        all.put("fetch-limits", ProduceConsume::fetchLimits);
        all.put("long-poll", ProduceConsume::longPoll);
        all.put("auto-create-refused", ProduceConsume::unknownTopic);
        all.put("offsets-by-time", Offsets::byTime);
        all.put("commit-resume", Offsets::commitAndResume);
        all.put("reset-policy", Offsets::resetPolicy);
        all.put("group-eager", Groups::eager);
        all.put("group-cooperative", Groups::cooperative);
        all.put("group-static", Groups::staticMembers);
        all.put("group-crash", Groups::crash);
        all.put("admin-topics", Admins::topics);
        all.put("admin-configs", Admins::configs);
        all.put("admin-cluster", Admins::cluster);
        all.put("admin-groups", Admins::groups);
        all.put("admin-offsets", Admins::offsets);
        all.put("absent-reads", Absent::reads);
        all.put("transaction-transform", Transactions::transform);
        all.put("transaction-fenced", Transactions::fenced);
        all.put("absent-consumer-protocol", Absent::consumerProtocol);
        return all;
    }

    /** Those that need a cluster with short sessions: run if they are named. */
    private static Map<String, Scenario> named() {
        Map<String, Scenario> named = new LinkedHashMap<>();
        named.put("next-crash", ConsumerGroups::crash);
        named.put("next-rolling", ConsumerGroups::rolling);
        named.put("next-expression", ConsumerGroups::expression);
        return named;
    }

    public static void main(String[] args) throws Exception {
        Cluster cluster = new Cluster(args[0], Short.parseShort(args[1]));
        Map<String, Scenario> all = all();
        List<String> names = new ArrayList<>(List.of(args).subList(2, args.length));
        if (names.isEmpty()) {
            names.addAll(all.keySet());
        }
        all.putAll(named());
        int failed = 0;
        for (String name : names) {
            Scenario scenario = all.get(name);
            if (scenario == null) {
                throw new IllegalArgumentException("no scenario " + name + " in " + all.keySet());
            }
            long start = System.nanoTime();
            try {
                scenario.run(cluster);
                long ms = (System.nanoTime() - start) / 1_000_000;
                System.out.println("PASS java/" + name + " " + ms + " ms");
            } catch (Throwable e) {
                failed++;
                System.out.println("FAIL java/" + name + ": " + e);
                e.printStackTrace(System.out);
            }
        }
        System.out.println((names.size() - failed) + " passed, " + failed + " failed");
        System.out.flush();
        Runtime.getRuntime().halt(failed == 0 ? 0 : 1);
    }
}
