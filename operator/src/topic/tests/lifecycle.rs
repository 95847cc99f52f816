//! From the first sight of a resource to its end.

use base::BrokerId;
use crd::EntityReason as Reason;

use super::*;

#[tokio::test]
async fn a_hundred_new_topics_take_one_look_and_one_request() {
    let mut bed = Bed::new();
    let names: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    names.iter().for_each(|name| bed.apply(entry(name)));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bed.look(&names).await;
    assert_eq!(bed.kafka.calls("describe"), [100]);
    assert_eq!(bed.kafka.calls("create"), [100]);
    bed.assert_reason("t7", true, Reason::Created);
    let status = bed.resource("t7").status.unwrap();
    assert_eq!((status.partitions, status.replication_factor), (Some(3), Some(3)));
    assert_eq!(status.topic_id, Some(bed.kafka.lock().topics["t7"].id.to_string()));
    assert_eq!(bed.api.writes(), 100);

    bed.look(&names).await;
    assert_eq!(bed.kafka.calls("create"), [100], "they are there");
    assert_eq!(bed.api.writes(), 100, "what is as it was is not written again");
    bed.assert_reason("t7", true, Reason::Created);
}

#[tokio::test]
async fn a_topic_that_exists_is_brought_into_line_once_that_is_asked_for() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 2, 3, config(&[("retention.ms", "1000"), ("cleanup.policy", "compact")]));
    let id = bed.kafka.lock().topics["t"].id;
    let mut wanted = entry("t");
    wanted.wish.config = config(&[("retention.ms", "5000")]);
    bed.apply(wanted.clone());
    for _ in 0..3 {
        bed.look(&["t"]).await;
        bed.assert_reason("t", false, Reason::AdoptionDiffers);
    }
    let topic = bed.kafka.lock().topics["t"].clone();
    assert_eq!((topic.config.len(), topic.partitions.len()), (2, 2), "it is as it was");
    assert_eq!(bed.api.lock().events, [Reason::AdoptionDiffers.name()]);

    wanted.wish.adopt = true;
    bed.apply(wanted);
    bed.look(&["t"]).await;
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::InSync);
    let topic = bed.kafka.lock().topics["t"].clone();
    assert_eq!(topic.config, config(&[("retention.ms", "5000")]));
    assert_eq!((topic.partitions.len(), topic.id), (3, id));
    assert!(bed.kafka.calls("create").is_empty());
}

#[tokio::test]
async fn drift_is_put_right_and_a_lost_topic_is_made_again() {
    let mut bed = Bed::new();
    bed.apply(entry("t"));
    bed.look(&["t"]).await;
    bed.kafka.lock().topics.get_mut("t").unwrap().config = config(&[("retention.ms", "1")]);
    bed.look(&["t"]).await;
    assert!(bed.kafka.lock().topics["t"].config.is_empty(), "not asked for, so reset");

    bed.kafka.lock().topics.clear();
    bed.look(&["t"]).await;
    assert!(bed.kafka.has("t"));
    let (ready, _, message) = bed.says("t");
    assert!(ready && message.contains("created anew, empty"), "{message}");
    assert_eq!(bed.api.lock().events, ["Created"], "the loss of data is told");
}

#[tokio::test]
async fn replicas_are_added_on_the_second_look_and_counted_when_they_are_there() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 3, 2, config(&[]));
    bed.apply(adopting("t"));
    bed.look(&["t"]).await;
    bed.assert_reason("t", false, Reason::Reassigning);
    assert!(bed.kafka.lock().moves.is_empty(), "one look may be a moment old");
    bed.look(&["t"]).await;
    assert_eq!(bed.kafka.lock().moves.len(), 3);
    assert_eq!(bed.kafka.lock().moves[0].replicas, [0, 1, 2].map(BrokerId));
    bed.look(&["t"]).await;
    assert_eq!(bed.resource("t").status.unwrap().replication_factor, Some(2));
    bed.kafka.settle();
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::InSync);
    assert_eq!(bed.resource("t").status.unwrap().replication_factor, Some(3));

    let mut fewer = entry("t");
    fewer.wish.replication_factor = Some(1);
    bed.apply(fewer);
    bed.look(&["t"]).await;
    bed.look(&["t"]).await;
    bed.kafka.settle();
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::InSync);
    assert!(bed.kafka.lock().topics["t"].partitions.iter().all(|p| p.replicas.len() == 1));
}

#[tokio::test]
async fn replicas_are_added_throttled_and_not_on_a_cordoned_broker() {
    let mut bed = Bed::new();
    bed.kafka.lock().brokers.insert(BrokerId(3), Default::default());
    bed.kafka.lock().cordoned.insert(BrokerId(2));
    bed.cluster_is(|facts| (facts.fleet, facts.throttle) = (Fleet::of_one(4, None), Some(1_000)));
    bed.kafka.put("t", 3, 2, config(&[]));
    bed.apply(adopting("t"));
    bed.look(&["t"]).await;
    bed.look(&["t"]).await;
    assert_eq!(bed.kafka.lock().moves[0].replicas, [0, 1, 3].map(BrokerId));
    let throttled =
        bed.kafka.lock().topics["t"].config["follower.replication.throttled.replicas"].clone();
    assert_eq!(throttled, "0:3,1:3,2:3");
    bed.look(&["t"]).await;
    assert_eq!(bed.kafka.lock().topics["t"].config.len(), 2, "throttles are no drift");
}

#[tokio::test]
async fn the_finalizer_comes_before_the_topic_and_goes_after_it() {
    let mut bed = Bed::new();
    bed.apply(disposable("t"));
    bed.api.lock().raced = true;
    bed.look(&["t"]).await;
    assert!(!bed.kafka.has("t"), "without the finalizer nothing would delete it");
    bed.api.lock().raced = false;
    bed.look(&["t"]).await;
    assert!(bed.kafka.has("t"));
    assert_eq!(bed.api.lock().finalizers, [("t".into(), vec![FINALIZER.into()])]);

    bed.kafka.fail("delete", [timed_out()]);
    bed.apply(deleting(disposable("t")));
    bed.look(&["t"]).await;
    assert_eq!(bed.api.lock().finalizers.len(), 1, "whether it is deleted is not known");
    bed.look(&["t"]).await;
    assert!(!bed.kafka.has("t"));
    assert_eq!(bed.api.lock().finalizers.last().unwrap().1, Vec::<String>::new());
}

#[tokio::test]
async fn a_topic_is_kept_if_its_policy_changed_to_retain_before_the_end() {
    let mut bed = Bed::new();
    bed.apply(disposable("t"));
    bed.look(&["t"]).await;
    bed.apply(entry("t"));
    bed.look(&["t"]).await;
    assert!(!bed.resource("t").has_finalizer());
    bed.apply(deleting(held("u")));
    let mut unmanaged = deleting(held("v"));
    unmanaged.wish.managed = false;
    bed.kafka.put("v", 1, 3, config(&[]));
    bed.shared.index().apply(unmanaged);
    bed.look(&["v"]).await;
    assert!(bed.kafka.has("v"), "left alone, so not deleted either");
    assert!(!bed.resource("v").has_finalizer());
}

/// As a GitOps tool renames a resource: the new one is applied, then the old one pruned.
#[tokio::test]
async fn a_resource_is_renamed_and_the_topic_keeps_its_data() {
    let mut bed = Bed::new();
    let named = |mut entry: Entry, created_ms| {
        (entry.wish.topic, entry.wish.created_ms) = ("t".into(), created_ms);
        entry
    };
    bed.apply(named(held("old"), 1_000));
    bed.look(&["t"]).await;
    let id = bed.kafka.lock().topics["t"].id;
    bed.shared.index().apply(named(held("new"), 2_000));
    bed.look(&["t"]).await;
    bed.assert_reason("new", false, Reason::Conflict);

    bed.apply(deleting(named(held("old"), 1_000)));
    bed.look(&["t"]).await;
    assert_eq!(bed.kafka.lock().topics["t"].id, id, "it was not made again");
    assert!(!bed.resource("old").has_finalizer(), "it is let go");
    bed.assert_reason("new", true, Reason::InSync);
    assert_eq!(bed.resource("new").wish.known_id, Some(id));
}

#[tokio::test]
async fn the_older_of_two_resources_has_the_topic_until_it_goes() {
    let mut bed = Bed::new();
    let mut younger = held("younger");
    (younger.wish.topic, younger.wish.created_ms) = ("t".into(), 2_000);
    younger.wish.partitions = 5;
    let mut older = entry("older");
    older.wish.topic = "t".into();
    bed.shared.index().apply(younger.clone());
    bed.apply(older.clone());
    bed.look(&["t"]).await;
    assert_eq!(bed.kafka.lock().topics["t"].partitions.len(), 3);
    bed.assert_reason("older", true, Reason::Created);
    bed.assert_reason("younger", false, Reason::Conflict);
    assert!(bed.says("younger").2.contains("ns/older"), "the winner is named");

    bed.apply(deleting(younger.clone()));
    bed.look(&["t"]).await;
    assert!(bed.kafka.has("t"), "it was not the loser's to delete");
    assert!(!bed.resource("younger").has_finalizer());

    let mut again = younger;
    again.wish.uid = "another".into();
    again.wish.adopt = true;
    bed.shared.index().apply(again);
    bed.shared.index().remove(&older.key());
    bed.look(&["t"]).await;
    bed.look(&["t"]).await;
    bed.assert_reason("younger", true, Reason::InSync);
    assert_eq!(bed.kafka.lock().topics["t"].partitions.len(), 5);
}

#[tokio::test]
async fn an_invalid_edit_is_named_and_forgotten_once_it_is_undone() {
    let mut bed = Bed::new();
    bed.apply(entry("t"));
    bed.look(&["t"]).await;
    let mut edits = [entry("t"), entry("t"), entry("t"), entry("t")];
    edits[0].wish.config = config(&[("retention.mss", "1")]);
    edits[1].wish.replication_factor = Some(9);
    edits[2].wish.partitions = 2;
    edits[3].impossible = Some((Reason::InvalidConfig, "the value of x is a list".into()));
    let reasons = [
        (Reason::InvalidConfig, "retention.mss"),
        (Reason::InvalidReplicationFactor, "9"),
        (Reason::NotSupported, "cannot be reduced"),
        (Reason::InvalidConfig, "is a list"),
    ];
    for (generation, (edit, (reason, text))) in edits.into_iter().zip(reasons).enumerate() {
        let generation = Some(generation as i64 + 2);
        bed.apply(Entry { generation, ..edit });
        bed.look(&["t"]).await;
        bed.assert_reason("t", false, reason);
        assert!(bed.says("t").2.contains(text), "{}", bed.says("t").2);
        assert_eq!(bed.resource("t").status.unwrap().observed_generation, generation);
    }
    bed.apply(Entry { generation: Some(9), ..entry("t") });
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::InSync);
    assert_eq!(bed.kafka.lock().topics["t"].partitions.len(), 3);
}

/// Renamed: the new resource was there before the old one went, and the watch is late.
#[tokio::test]
async fn a_topic_is_not_deleted_while_an_heir_may_be_on_its_way() {
    let mut bed = Bed::new();
    bed.apply(disposable("t"));
    bed.look(&["t"]).await;
    bed.apply(deleting(held("t")));
    for named in [None, Some(std::collections::BTreeSet::from(["t".to_owned()]))] {
        bed.api.lock().named = named;
        bed.look(&["t"]).await;
        assert!(bed.kafka.has("t"));
        bed.assert_reason("t", false, Reason::Deleting);
        assert!(bed.resource("t").has_finalizer(), "it is looked at again");
    }
    bed.api.lock().named = Some(Default::default());
    bed.look(&["t"]).await;
    assert!(!bed.kafka.has("t"));
}

/// The cluster's own pass must not end a throttle between its being set and the moves.
#[tokio::test]
async fn moves_of_a_topic_wait_while_the_cluster_s_throttle_is_in_other_hands() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 3, 2, config(&[]));
    bed.apply(adopting("t"));
    bed.look(&["t"]).await;
    let throttle = bed.api.lock().throttle.clone();
    let theirs = throttle.lock_owned().await;
    {
        let mut looking = std::pin::pin!(bed.worker.pass(vec!["t".into()]));
        let soon = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, &mut looking).await.is_err());
        assert!(bed.kafka.lock().moves.is_empty());
        drop(theirs);
        looking.await;
    }
    assert!(!bed.kafka.lock().moves.is_empty());
}
