//! Subscriptions, topics that come and grow, and assignors.

use base::ErrorCode;
use coordinator::*;

use crate::world::{Member, World, sizes};

#[test]
fn topics_that_come_grow_or_go_are_shared_anew() {
    let mut w = World::new(&[("t", 2)]);
    let (mut a, mut b) = (Member::new("a", &["t", "u"]), Member::new("b", &["t", "u"]));
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [1, 1]);
    w.create("t", 4);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [2, 2]);
    w.create("u", 2);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [3, 3]);
    w.delete("t");
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [1, 1]);
    let epoch = w.describe().epoch;
    w.create("other", 9);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(w.describe().epoch, epoch, "nobody reads it");
}

#[test]
fn a_regular_expression_is_looked_up_again_when_topics_come() {
    let mut w = World::new(&[("log-a", 2), ("log-b", 2), ("logs", 2)]);
    let mut a = Member { regex: Some("log-.*".into()), ..Member::new("a", &[]) };
    let mut b = Member::new("b", &["logs"]);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [4, 2]);
    w.create("log-c", 2);
    a.beat(&mut w);
    assert_eq!(a.owned.len(), 4, "not more often than every ten seconds");
    w.advance(10_000);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [6, 2]);
    // It is written down while somebody has it.
    let is_kept = |w: &World| {
        w.shard
            .persistent_view()
            .iter()
            .any(|r| matches!(r, GroupRecord::Consumer { record: ConsumerRecord::Regex(..), .. }))
    };
    assert!(is_kept(&w));
    w.heartbeat(a.leave_request(-1));
    assert!(!is_kept(&w));
}

#[test]
fn a_regular_expression_stands_for_what_its_member_may_know_of() {
    let mut w = World::new(&[("log-a", 2), ("log-b", 3)]);
    let sight = Sight::of(|topic| topic == "log-a");
    let mut a = Member { regex: Some("log-.*".into()), sight, ..Member::new("a", &[]) };
    let mut b = Member::new("b", &["log-a"]);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [1, 1]);
    // Nobody looks again on behalf of somebody else.
    w.create("log-c", 2);
    w.advance(10_000);
    w.heartbeat(b.leave_request(-1));
    w.settle(&mut [&mut a]);
    assert_eq!(a.owned.len(), 2);
}

#[test]
fn a_member_that_subscribes_to_less_gives_up_the_rest() {
    let mut w = World::new(&[("t", 2), ("u", 2)]);
    let mut a = Member::new("a", &["t", "u"]);
    w.settle(&mut [&mut a]);
    assert_eq!(a.owned.len(), 4);
    let request = ConsumerHeartbeat { topics: Some(vec!["u".into()]), ..a.request() };
    let reply = w.heartbeat(request);
    assert_eq!(reply.error, ErrorCode::None);
    a.take(&reply);
    w.settle(&mut [&mut a]);
    let u = w.id("u");
    assert_eq!(a.owned, [(u, 0), (u, 1)].into());
}

#[test]
fn the_assignor_that_most_ask_for_decides() {
    let mut w = World::new(&[("t", 3), ("u", 3)]);
    let range =
        |id: &str| Member { assignor: Some("range".into()), ..Member::new(id, &["t", "u"]) };
    let (mut a, mut b) = (range("a"), range("b"));
    let mut c = Member::new("c", &["t", "u"]);
    w.settle(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(&*w.describe().assignor, "range");
    let (t, u) = (w.id("t"), w.id("u"));
    assert_eq!(a.owned, [(t, 0), (u, 0)].into(), "alike of both topics");
    assert_eq!(b.owned, [(t, 1), (u, 1)].into());
}

#[test]
fn targets_are_computed_no_more_often_than_the_interval_says() {
    let mut w = World::with(GroupConfig::kafka_defaults(), &[("t", 4)]);
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    a.join(&mut w);
    assert_eq!(a.owned.len(), 4);
    b.join(&mut w);
    let described = w.describe();
    assert_eq!((described.epoch, described.target_epoch), (2, 1));
    assert_eq!(described.state.name(), "Assigning");
    // Without any heartbeat.
    w.advance(1_000);
    assert_eq!(w.describe().target_epoch, 2);
    w.settle(&mut [&mut a, &mut b]);
    assert_eq!(sizes(&[&mut a, &mut b]), [2, 2]);
}
