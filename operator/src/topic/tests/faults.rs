//! Brokers that do not answer, answer partly, or refuse; clusters that are not there.

use crd::EntityReason as Reason;

use super::*;

#[tokio::test]
async fn one_refused_topic_does_not_hold_the_others_up() {
    let mut bed = Bed::new();
    ["a", "b", "c"].iter().for_each(|name| bed.apply(entry(name)));
    bed.kafka.refuse("create", "b", refused(ErrorCode::PolicyViolation));
    bed.look(&["a", "b", "c"]).await;
    bed.assert_reason("a", true, Reason::Created);
    bed.assert_reason("b", false, Reason::NotSupported);
    bed.assert_reason("c", true, Reason::Created);
    assert_eq!(bed.queue.waiting_for("b"), Some(()), "it is tried again");
    bed.kafka.lock().refusals.clear();
    bed.look(&["b"]).await;
    bed.assert_reason("b", true, Reason::Created);
}

#[tokio::test]
async fn a_lost_answer_is_not_repeated_but_looked_after() {
    let mut bed = Bed::new();
    bed.apply(entry("t"));
    // The request was executed, its answer lost.
    bed.kafka.fail("create", [timed_out()]);
    bed.look(&["t"]).await;
    bed.kafka.put("t", 3, 3, config(&[]));
    assert!(bed.resource("t").status.is_none(), "it may pass: nothing to be told yet");
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::InSync);
    assert_eq!(bed.kafka.calls("create").len(), 1);
}

#[tokio::test]
async fn a_controller_that_keeps_moving_is_told_after_some_attempts() {
    let mut bed = Bed::new();
    bed.apply(entry("t"));
    bed.kafka.refuse("create", "t", refused(ErrorCode::NotController));
    bed.look(&["t"]).await;
    bed.look(&["t"]).await;
    assert!(bed.resource("t").status.is_none());
    bed.look(&["t"]).await;
    bed.assert_reason("t", false, Reason::KafkaError);
    let written = bed.api.writes();
    bed.look(&["t"]).await;
    assert_eq!(bed.api.writes(), written, "the same is not written again");
    bed.kafka.lock().refusals.clear();
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::Created);
}

#[tokio::test]
async fn somebody_who_creates_the_topic_first_is_no_error() {
    let mut bed = Bed::new();
    bed.apply(entry("t"));
    bed.kafka.refuse("create", "t", refused(ErrorCode::TopicAlreadyExists));
    bed.look(&["t"]).await;
    assert!(bed.resource("t").status.is_none());
    bed.kafka.put("t", 3, 3, config(&[]));
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::InSync);
}

#[tokio::test]
async fn a_failed_action_keeps_the_later_ones_of_its_topic_back() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 1, 3, config(&[]));
    let mut wanted = adopting("t");
    wanted.wish.config = config(&[("retention.ms", "5000")]);
    bed.apply(wanted);
    bed.kafka.refuse("alter", "t", refused(ErrorCode::InvalidConfig));
    bed.look(&["t"]).await;
    bed.assert_reason("t", false, Reason::InvalidConfig);
    assert!(bed.kafka.calls("widen").is_empty());
}

#[tokio::test]
async fn a_topic_whose_configs_cannot_be_read_is_not_touched() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 1, 3, config(&[]));
    bed.kafka.refuse("describe", "t", refused(ErrorCode::TopicAuthorizationFailed));
    bed.shared.index().apply(deleting(held("t")));
    bed.look(&["t"]).await;
    bed.apply(entry("u"));
    assert!(bed.kafka.has("t"));
    assert!(bed.resource("t").has_finalizer(), "nothing is let go of what was not seen");
}

#[tokio::test]
async fn waits_for_a_cluster_and_goes_on_by_itself() {
    let mut bed = Bed::new();
    bed.shared.index().remove_cluster(&cluster());
    bed.apply(entry("t"));
    bed.look(&["t"]).await;
    bed.assert_reason("t", false, Reason::WaitingForCluster);
    assert!(bed.says("t").2.contains("does not exist"));

    bed.cluster_is(|facts| facts.ready = false);
    bed.look(&["t"]).await;
    assert!(bed.says("t").2.contains("is ready"), "{}", bed.says("t").2);
    assert!(bed.kafka.calls("brokers").is_empty(), "not asked before it is ready");

    bed.cluster_is(|_| {});
    bed.kafka.lock().down = true;
    bed.look(&["t"]).await;
    assert!(bed.says("t").2.contains("no broker of KafkaCluster c answers"));
    let asked = bed.kafka.calls("brokers").len();
    bed.look(&["t"]).await;
    assert_eq!(bed.kafka.calls("brokers").len(), asked, "no attempt for every batch");

    bed.kafka.lock().down = false;
    bed.cluster_is(|facts| facts.bootstrap.push("another:9092".into()));
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::Created);
}

#[tokio::test]
async fn a_short_silence_of_the_brokers_makes_no_topic_less_ready() {
    let mut bed = Bed::new();
    bed.apply(entry("t"));
    bed.look(&["t"]).await;
    let written = bed.api.writes();
    bed.kafka.lock().down = true;
    bed.look(&["t"]).await;
    bed.assert_reason("t", true, Reason::Created);
    assert_eq!(bed.api.writes(), written);
    assert_eq!(bed.queue.waiting_for("t"), Some(()));
}

#[tokio::test]
async fn a_resource_never_hangs_on_a_cluster_that_is_gone_or_going() {
    for gone in [true, false] {
        let mut bed = Bed::new();
        match gone {
            true => drop(bed.shared.index().remove_cluster(&cluster())),
            false => bed.cluster_is(|facts| facts.deleting = true),
        }
        bed.kafka.put("t", 1, 3, config(&[]));
        bed.shared.index().apply(deleting(held("t")));
        // The watch lags: the cluster was made again.
        bed.api.lock().cluster_exists = true;
        bed.look(&["t"]).await;
        assert_eq!(bed.resource("t").has_finalizer(), gone);
        bed.api.lock().cluster_exists = false;
        bed.look(&["t"]).await;
        assert!(!bed.resource("t").has_finalizer());
        assert!(bed.kafka.calls("delete").is_empty());
    }
}

#[tokio::test]
async fn a_cluster_that_goes_lets_even_topics_that_stay_go() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 1, 3, config(&[]));
    bed.shared.index().apply(held("t"));
    bed.look(&["t"]).await;
    assert!(bed.resource("t").has_finalizer());
    bed.cluster_is(|facts| facts.deleting = true);
    bed.look(&["t"]).await;
    assert!(!bed.resource("t").has_finalizer());
    assert!(bed.kafka.calls("delete").is_empty());
}

#[tokio::test]
async fn a_topic_to_delete_waits_for_brokers_and_a_retained_one_does_not() {
    let mut bed = Bed::new();
    bed.kafka.lock().down = true;
    bed.shared.index().apply(deleting(held("t")));
    let mut retained = deleting(held("r"));
    retained.wish.delete_data = false;
    bed.shared.index().apply(retained);
    bed.look(&["t", "r"]).await;
    assert!(bed.resource("t").has_finalizer());
    assert!(!bed.resource("r").has_finalizer());
    assert_eq!(bed.queue.waiting_for("t"), Some(()));
}

#[tokio::test]
async fn deletion_that_brokers_forbid_is_said() {
    let mut bed = Bed::new();
    bed.kafka.put("t", 1, 3, config(&[]));
    bed.kafka.refuse("delete", "t", refused(ErrorCode::TopicDeletionDisabled));
    bed.shared.index().apply(deleting(held("t")));
    bed.look(&["t"]).await;
    bed.assert_reason("t", false, Reason::Deleting);
    assert!(bed.says("t").2.contains("delete.topic.enable"));
    assert!(bed.resource("t").has_finalizer());
}

#[tokio::test]
async fn a_paused_cluster_is_looked_at_only() {
    let mut bed = Bed::new();
    bed.cluster_is(|facts| facts.paused = true);
    bed.apply(entry("t"));
    bed.shared.index().apply(deleting(held("d")));
    bed.kafka.put("d", 1, 3, config(&[]));
    bed.look(&["t", "d"]).await;
    bed.assert_reason("t", false, Reason::Paused);
    assert!(!bed.kafka.has("t") && bed.kafka.has("d"));
    assert!(bed.resource("d").has_finalizer());
}
