//! What users do to topics, and what they are told.

use super::*;

fn wish() -> TopicWish {
    TopicWish {
        namespace: "ns".into(),
        name: "orders".into(),
        uid: "1".into(),
        created_ms: 100,
        topic: "orders".into(),
        partitions: 2,
        replication_factor: Some(2),
        managed: true,
        known_id: Some(TopicId([1; 16])),
        ..TopicWish::default()
    }
}

fn actual(partitions: &[&[i32]]) -> TopicActual {
    let view = |(index, replicas): (usize, &&[i32])| {
        let replicas: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
        PartitionView {
            topic: "orders".into(),
            partition: index as i32,
            isr: replicas.clone(),
            leader: replicas.first().copied(),
            replicas,
            adding: Vec::new(),
            removing: Vec::new(),
            bytes: None,
        }
    };
    let partitions = partitions.iter().enumerate().map(view).collect();
    TopicActual { id: TopicId([1; 16]), partitions, config: BTreeMap::new() }
}

fn context(brokers: i32) -> TopicContext {
    let broker = |id| TopicBroker { id: BrokerId(id), rack: None, usable: true, hosted: 0 };
    TopicContext {
        brokers: (0..brokers).map(broker).collect(),
        moves_per_broker: 5,
        ..TopicContext::default()
    }
}

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn plan(wish: &TopicWish, actual: Option<&TopicActual>, context: &TopicContext) -> TopicPlan {
    plan_topic(wish, wish, actual, context)
}

#[test]
fn a_missing_topic_is_created_and_a_right_one_left_alone() {
    let created = plan(&wish(), None, &context(3));
    let create =
        TopicAction::Create { partitions: 2, replication_factor: 2, config: BTreeMap::new() };
    assert_eq!((created.actions, created.reason), (vec![create], EntityReason::Created));
    let there = plan(&wish(), Some(&actual(&[&[0, 1], &[1, 2]])), &context(3));
    assert_eq!((there.actions, there.ready, there.reason), (vec![], true, EntityReason::InSync));
    assert_eq!(there.requeue_ms, None, "a topic at rest is not looked at again");
}

#[test]
fn drift_is_undone_but_throttles_stay() {
    let mut there = actual(&[&[0, 1], &[1, 2]]);
    there.config = config(&[
        ("retention.ms", "5"),
        ("segment.ms", "7"),
        ("leader.replication.throttled.replicas", "0:1"),
    ]);
    let wish = TopicWish { config: config(&[("retention.ms", "9")]), ..wish() };
    let alter = TopicAction::AlterConfig {
        set: config(&[("retention.ms", "9")]),
        delete: vec!["segment.ms".into()],
    };
    assert_eq!(plan(&wish, Some(&there), &context(3)).actions, [alter]);
}

#[test]
fn partitions_grow_and_never_shrink() {
    let there = actual(&[&[0, 1], &[1, 2]]);
    let more = TopicWish { partitions: 5, ..wish() };
    assert_eq!(
        plan(&more, Some(&there), &context(3)).actions,
        [TopicAction::AddPartitions { to: 5 }]
    );
    let fewer = TopicWish { partitions: 1, config: config(&[("segment.ms", "7")]), ..wish() };
    let told = plan(&fewer, Some(&there), &context(3));
    assert_eq!((told.ready, told.reason), (false, EntityReason::NotSupported));
    assert!(told.message.contains("has 2 partitions"), "{}", told.message);
    assert_eq!(told.actions.len(), 1, "the rest of the edit is done");
}

#[test]
fn too_many_replicas_are_refused_until_there_are_brokers_for_them() {
    let wide = TopicWish { replication_factor: Some(3), ..wish() };
    for there in [None, Some(&actual(&[&[0, 1], &[1, 0]]))] {
        let told = plan(&wide, there, &context(2));
        assert_eq!((told.ready, told.reason), (false, EntityReason::InvalidReplicationFactor));
        assert!(told.actions.is_empty() && told.requeue_ms.is_some(), "{told:?}");
        let later = plan(&wide, there, &context(3));
        assert_eq!(later.actions.len(), 1, "{later:?}");
    }
}

#[test]
fn a_replication_factor_changes_both_ways() {
    let there = actual(&[&[0, 1], &[1, 2]]);
    let wider =
        plan(&TopicWish { replication_factor: Some(3), ..wish() }, Some(&there), &context(3));
    assert_eq!((wider.ready, wider.reason), (false, EntityReason::Reassigning));
    let [TopicAction::Reassign(moves)] = &wider.actions[..] else { panic!("{wider:?}") };
    assert!(moves.len() == 2 && moves.iter().all(|m| m.replicas.len() == 3));
    let mut moving = actual(&[&[0, 1, 2], &[1, 2]]);
    moving.partitions[0].adding = vec![BrokerId(2)];
    moving.partitions[0].isr.pop();
    let halfway = plan(
        &TopicWish { partitions: 2, replication_factor: Some(3), ..wish() },
        Some(&moving),
        &context(3),
    );
    let [TopicAction::Reassign(moves)] = &halfway.actions[..] else { panic!("{halfway:?}") };
    assert_eq!(moves.len(), 1, "what is on its way is not asked for again");
    let back = plan(&wish(), Some(&moving), &context(3));
    let [TopicAction::Reassign(moves)] = &back.actions[..] else { panic!("{back:?}") };
    assert_eq!(moves[0].replicas, [BrokerId(0), BrokerId(1)], "undone before it is done");
    let narrower =
        plan(&TopicWish { replication_factor: Some(1), ..wish() }, Some(&there), &context(3));
    let [TopicAction::Reassign(moves)] = &narrower.actions[..] else { panic!("{narrower:?}") };
    assert!(moves.iter().all(|m| m.replicas.len() == 1));
}

#[test]
fn the_key_that_is_wrong_is_named() {
    for (key, value) in [("retention.mss", "5"), ("retention.ms", "five"), ("cleanup.policy", "x")]
    {
        let wish = TopicWish { config: config(&[(key, value), ("segment.ms", "7")]), ..wish() };
        let told = plan(&wish, None, &context(3));
        assert_eq!((told.reason, told.actions.len()), (EntityReason::InvalidConfig, 0));
        assert!(told.message.contains(key), "{}", told.message);
    }
}

#[test]
fn the_older_resource_has_the_topic() {
    let older = TopicWish { name: "z".into(), uid: "2".into(), created_ms: 50, ..wish() };
    let unmanaged = TopicWish { uid: "3".into(), created_ms: 1, managed: false, ..wish() };
    let wishes = [wish(), older.clone(), unmanaged];
    assert_eq!(owners(&wishes), BTreeMap::from([("orders", 1)]));
    let told = plan_topic(&wishes[0], &older, None, &context(3));
    assert_eq!((told.ready, told.reason, told.actions.len()), (false, EntityReason::Conflict, 0));
    assert!(told.message.contains("ns/z"), "{}", told.message);
    let same_age = [TopicWish { name: "b".into(), ..wish() }, wish(), wish()];
    let twins = [TopicWish { name: "a".into(), uid: "9".into(), ..wish() }, same_age[0].clone()];
    assert_eq!(owners(&twins)["orders"], 0, "by name where they are of one age");
}

#[test]
fn deletion_takes_the_data_only_where_it_should() {
    let there = actual(&[&[0, 1], &[1, 2]]);
    let gone = |wish: &TopicWish, there: Option<&TopicActual>| {
        let plan = plan(wish, there, &context(3));
        (plan.actions, plan.release)
    };
    let retain = TopicWish { deleting: true, ..wish() };
    assert_eq!(gone(&retain, Some(&there)), (vec![], true));
    let delete = TopicWish { delete_data: true, ..retain };
    assert_eq!(gone(&delete, Some(&there)), (vec![TopicAction::Delete], true));
    assert_eq!(gone(&delete, None), (vec![], true));
    let unmanaged = TopicWish { managed: false, ..delete.clone() };
    assert_eq!(gone(&unmanaged, Some(&there)), (vec![], true));
    let older = TopicWish { uid: "2".into(), created_ms: 1, ..wish() };
    let duplicate = plan_topic(&delete, &older, Some(&there), &context(3));
    assert!(duplicate.actions.is_empty() && duplicate.release, "it is not its to delete");
    let unreachable = plan(&delete, None, &TopicContext::default());
    assert!(!unreachable.release, "nothing says that the topic is gone");
}

#[test]
fn nothing_is_sent_while_paused_unmanaged_or_unanswered() {
    let paused = TopicContext { paused: true, ..context(3) };
    assert_eq!(plan(&wish(), None, &paused).reason, EntityReason::Paused);
    let unmanaged = TopicWish { managed: false, ..wish() };
    assert_eq!(plan(&unmanaged, None, &context(3)).reason, EntityReason::Unmanaged);
    let silent = plan(&wish(), None, &TopicContext::default());
    assert_eq!((silent.reason, silent.actions.len()), (EntityReason::WaitingForCluster, 0));
    assert!(silent.requeue_ms.is_some());
}

#[test]
fn requests_are_bounded_and_in_order() {
    let create = plan(&wish(), None, &context(3));
    let there = actual(&[&[0, 1]]);
    let wish = TopicWish { config: config(&[("segment.ms", "7")]), ..wish() };
    let alter = plan(&wish, Some(&there), &context(3));
    let plans = [("a", &alter), ("b", &create), ("c", &create), ("d", &create)];
    let batches = batches(plans, 2);
    let shape: Vec<_> = batches.iter().map(|b| (b.kind, b.items.len())).collect();
    use TopicActionKind::*;
    assert_eq!(shape, [(Create, 2), (Create, 1), (AlterConfig, 1), (AddPartitions, 1)]);
}

/// A resource that is new to a topic with data: what it does not list would fall to the defaults.
#[test]
fn a_topic_that_was_there_before_is_changed_only_when_that_is_asked_for() {
    let mut there = actual(&[&[0, 1, 2]]);
    there.config = config(&[("retention.ms", "-1"), ("cleanup.policy", "compact")]);
    let new = TopicWish { known_id: None, config: config(&[("segment.ms", "7")]), ..wish() };
    let told = plan(&new, Some(&there), &context(3));
    assert_eq!((told.ready, told.reason), (false, EntityReason::AdoptionDiffers));
    assert!(told.actions.is_empty() && !told.adopted, "its id is not remembered: {told:?}");
    for difference in [
        "segment.ms is not set, wanted 7",
        "retention.ms is -1, wanted not set",
        "cleanup.policy is compact, wanted not set",
        "the replication factor is 3, wanted 2",
        "the number of partitions is 1, wanted 2",
    ] {
        assert!(told.message.contains(difference), "{}", told.message);
    }
    let asked = plan(&TopicWish { adopt: true, ..new.clone() }, Some(&there), &context(3));
    assert_eq!((asked.actions.len(), asked.adopted), (3, true));
    let same = TopicWish { known_id: None, ..wish() };
    let same = plan(&same, Some(&actual(&[&[0, 1], &[1, 2]])), &context(3));
    assert_eq!((same.ready, same.adopted), (true, true), "as wanted: there is nothing to ask");
    // What is looked at and left alone is not adopted by that.
    for seen in [
        TopicWish { managed: false, ..new.clone() },
        TopicWish { config: config(&[("retention.ms", "x")]), ..new },
    ] {
        assert!(!plan(&seen, Some(&there), &context(3)).adopted);
    }
}

/// A GitOps tool that renames a resource applies the new one and prunes the old one.
#[test]
fn a_topic_that_another_resource_names_outlives_its_owner() {
    let old = TopicWish { deleting: true, delete_data: true, created_ms: 1, ..wish() };
    let heir = TopicWish { name: "heir".into(), uid: "2".into(), known_id: None, ..wish() };
    let wishes = [old.clone(), heir.clone()];
    assert_eq!(owners(&wishes)["orders"], 1);
    let there = actual(&[&[0, 1], &[1, 2]]);
    let goes = plan_topic(&old, &heir, Some(&there), &context(3));
    assert!(goes.actions.is_empty() && goes.release, "{goes:?}");
    let has = plan_topic(&heir, &heir, Some(&there), &context(3));
    assert!(has.ready && has.adopted, "{has:?}");
    let both = [old.clone(), TopicWish { deleting: true, ..heir }];
    assert_eq!(owners(&both)["orders"], 0, "nobody is left");
}

#[test]
fn a_replication_factor_below_the_minimum_in_sync_is_refused() {
    let cluster = TopicContext { min_isr: 2, default_factor: 1, ..context(3) };
    let one = TopicWish { replication_factor: Some(1), known_id: None, ..wish() };
    let default = TopicWish { replication_factor: None, ..one.clone() };
    for wish in [&one, &default] {
        let told = plan(wish, None, &cluster);
        assert_eq!((told.actions.len(), told.reason), (0, EntityReason::InvalidReplicationFactor));
        assert!(told.message.contains("factor 1 is below min.insync.replicas 2"), "{told:?}");
    }
    let own = TopicWish { config: config(&[("min.insync.replicas", "1")]), ..one.clone() };
    assert_eq!(plan(&own, None, &cluster).actions.len(), 1, "it says otherwise itself");
    // Nor is it shrunk to that, nor its minimum raised above what it has.
    let there = actual(&[&[0, 1], &[1, 2]]);
    let fewer = TopicWish { replication_factor: Some(1), ..wish() };
    let told = plan(&fewer, Some(&there), &cluster);
    assert_eq!((told.actions.len(), told.reason), (0, EntityReason::InvalidReplicationFactor));
    let raised = TopicWish { config: config(&[("min.insync.replicas", "3")]), ..wish() };
    let told = plan(&raised, Some(&there), &cluster);
    assert_eq!((told.ready, told.actions.len()), (false, 0), "{told:?}");
    let kept = TopicWish { replication_factor: None, ..wish() };
    assert!(plan(&kept, Some(&there), &cluster).ready, "it has two");
    // One that is below already gets there.
    let alone = actual(&[&[0], &[1]]);
    let more = TopicWish { replication_factor: Some(2), ..wish() };
    assert_eq!(plan(&more, Some(&alone), &cluster).actions.len(), 1);
}
