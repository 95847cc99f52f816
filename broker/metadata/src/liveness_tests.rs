//! Tests of liveness: every hint leads to fencing in its time, and to nothing before.

use base::TopicId;

use super::*;
use crate::record::{BrokerStateRecord, MetadataRecord, RegisterBrokerRecord};

fn image(brokers: &[i32]) -> Image {
    let mut image = Image::new("cluster");
    for &id in brokers {
        let (broker_id, broker_epoch) = (BrokerId(id), i64::from(id));
        let register = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id,
            incarnation_id: TopicId::ZERO,
            broker_epoch,
            listeners: Vec::new(),
            rack: None,
            log_dirs: Vec::new(),
            log_dir_paths: Vec::new(),
            cordoned_log_dirs: "".into(),
            update: false,
        });
        let unfence = MetadataRecord::UnfenceBroker(BrokerStateRecord { broker_id, broker_epoch });
        image.apply(image.offset() + 1, &[register, unfence]).unwrap();
    }
    image
}

fn beat(liveness: &mut Liveness, broker: i32, session: u64, now: i64) {
    liveness.heartbeat(BrokerId(broker), i64::from(broker), Some(session), 0, now);
}

fn ids(expired: &[Expired]) -> Vec<BrokerId> {
    expired.iter().map(|expired| expired.broker).collect()
}

/// Steps of 50 ms with heartbeats of `beating`; returns when each broker first expired.
fn run(
    liveness: &mut Liveness,
    image: &Image,
    from: i64,
    to: i64,
    beating: &[i32],
) -> Vec<(i32, i64)> {
    let mut expired = Vec::new();
    for now in (from..=to).step_by(50) {
        beating.iter().for_each(|b| beat(liveness, *b, *b as u64, now));
        for broker in ids(&liveness.expired(image, now)) {
            if expired.iter().all(|(b, _)| *b != broker.0) {
                expired.push((broker.0, now));
            }
        }
    }
    expired
}

#[test]
fn silence_and_broken_sessions_have_their_own_time() {
    let image = image(&[1, 2, 3]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    (1..=3).for_each(|b| beat(&mut liveness, b, b as u64, 0));
    liveness.session_closed(2, 0);
    let mut ended = liveness.clone();
    ended.process_ended(2, 5);
    assert_eq!(run(&mut ended, &image, 5, 2000, &[1]), [(2, 105), (3, 1005)]);
    // It may have been the network: a heartbeat, and a reconnection that does not come off at once.
    assert_eq!(run(&mut liveness, &image, 0, 2000, &[1]), [(2, 500), (3, 1000)]);
}

#[test]
fn a_connection_that_broke_on_its_way_fences_nobody_who_beats_on_another() {
    let image = image(&[1, 2, 3]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    (1..=3).for_each(|b| beat(&mut liveness, b, b as u64, 0));
    // Only the controller saw the break. The broker writes 200 ms later, to a connection that is
    // reset, and needs a quarter of a second for the next.
    liveness.session_closed(2, 0);
    assert_eq!(run(&mut liveness, &image, 0, 450, &[1, 3]), []);
    beat(&mut liveness, 2, 20, 450);
    assert_eq!(run(&mut liveness, &image, 450, 1400, &[1, 3]), []);
}

#[test]
fn sessions_that_break_all_at_once_are_judged_by_their_silence() {
    let image = image(&[1, 2, 3, 4, 5]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    (1..=5).for_each(|b| beat(&mut liveness, b, b as u64, 0));
    // What stands before the controller is restarted, and refuses connections in both directions.
    for (broker, at) in [(2, 0), (3, 40), (4, 80)] {
        liveness.session_closed(broker, at);
        liveness.process_ended(broker, at);
    }
    // Two are back before the third.
    assert_eq!(run(&mut liveness, &image, 100, 300, &[1, 5]), []);
    assert_eq!(run(&mut liveness, &image, 300, 2000, &[1, 2, 3, 5]), [(4, 1000)]);
    // Half of them are not more than half.
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    (1..=4).for_each(|b| beat(&mut liveness, b, b as u64, 0));
    liveness.forget(BrokerId(5));
    [3, 4].iter().for_each(|session| liveness.session_closed(*session, 0));
    [3, 4].iter().for_each(|session| liveness.process_ended(*session, 0));
    assert!(run(&mut liveness, &image, 0, 150, &[1, 2]).starts_with(&[(3, 100), (4, 100)]));
}

#[test]
fn a_reconnection_within_the_grace_counts_and_an_old_session_does_not() {
    let image = image(&[1]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    beat(&mut liveness, 1, 10, 0);
    liveness.session_closed(10, 0);
    beat(&mut liveness, 1, 11, 90);
    assert!(liveness.is_live(BrokerId(1), 90));
    // The end of the first session is reported twice.
    liveness.session_closed(10, 95);
    assert_eq!(run(&mut liveness, &image, 100, 1000, &[]), []);
}

#[test]
fn a_new_controller_gives_everybody_time_but_little_to_its_predecessor() {
    let image = image(&[1, 2, 3]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, Some(BrokerId(3)), 1000);
    assert!(!liveness.is_live(BrokerId(3), 1000));
    let expired = run(&mut liveness, &image, 1000, 2000, &[1]);
    // As long as it may be silent: a broker that is just back has to find the new controller.
    assert_eq!(expired, [(3, 1150), (2, 2000)]);
    let patient = LivenessSettings { silence_ms: 9000, ..LivenessSettings::default() };
    let mut liveness = Liveness::new(patient, &image, Some(BrokerId(3)), 1000);
    let expired = run(&mut liveness, &image, 1000, 11_000, &[1]);
    assert_eq!(expired, [(3, 1150), (2, 10_000)]);
}

#[test]
fn a_controller_that_was_paused_does_not_blame_the_brokers() {
    let image = image(&[1, 2]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    assert_eq!(run(&mut liveness, &image, 0, 500, &[1, 2]), []);
    // Stopped for ten seconds; broker 2 died meanwhile.
    assert_eq!(liveness.expired(&image, 10_500), []);
    assert_eq!(run(&mut liveness, &image, 10_550, 12_000, &[1]), [(2, 11_500)]);
}

#[test]
fn the_next_deadline_is_never_late_and_bounds_the_calls() {
    let image = image(&[1]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    beat(&mut liveness, 1, 1, 0);
    assert_eq!(liveness.next_deadline(&image), 100);
    assert!(liveness.expired(&image, 90).is_empty());
    beat(&mut liveness, 2, 2, 95);
    liveness.session_closed(1, 95);
    liveness.process_ended(1, 95);
    assert_eq!(liveness.next_deadline(&image), 195);
    assert_eq!(ids(&liveness.expired(&image, 195)), [BrokerId(1)]);
    // Fenced brokers have no deadline.
    let mut fenced = image.clone();
    let record = BrokerStateRecord { broker_id: BrokerId(1), broker_epoch: 1 };
    fenced.apply(2, &[MetadataRecord::FenceBroker(record)]).unwrap();
    assert_eq!(liveness.expired(&fenced, 250), []);
}

#[test]
fn an_offset_is_reached_when_every_unfenced_broker_says_so() {
    let image = image(&[1, 2, 3]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    liveness.heartbeat(BrokerId(1), 1, Some(1), 9, 0);
    assert!(!liveness.all_reached(&image, 9, BrokerId(3)));
    liveness.heartbeat(BrokerId(2), 2, Some(2), 8, 0);
    assert!(!liveness.all_reached(&image, 9, BrokerId(3)));
    liveness.heartbeat(BrokerId(2), 2, Some(2), 9, 0);
    assert!(liveness.all_reached(&image, 9, BrokerId(3)));
}

#[test]
fn fencing_can_be_put_off_for_silence_only_and_not_for_ever() {
    let image = image(&[1, 2]);
    let mut liveness = Liveness::new(LivenessSettings::default(), &image, None, 0);
    (1..=2).for_each(|b| beat(&mut liveness, b, b as u64, 0));
    let silent = Expired { broker: BrokerId(1), may_wait: true };
    assert_eq!(run(&mut liveness, &image, 0, 950, &[2]), []);
    beat(&mut liveness, 2, 2, 1000);
    assert_eq!(liveness.expired(&image, 1000), [silent]);
    liveness.put_off(BrokerId(1), 1000);
    assert_eq!(liveness.expired(&image, 1050), []);
    assert_eq!(liveness.next_deadline(&image), 1100);
    assert!(!liveness.is_live(BrokerId(1), 1050), "another process may take its place");
    assert_eq!(liveness.expired(&image, 1100), [silent]);
    // Its session breaks: it is gone.
    let mut broken = liveness.clone();
    broken.put_off(BrokerId(1), 1100);
    beat(&mut broken, 2, 2, 1150);
    broken.session_closed(1, 1150);
    let gone = Expired { broker: BrokerId(1), may_wait: false };
    assert_eq!(broken.expired(&image, 1150), [gone]);
    assert_eq!(run(&mut liveness, &image, 1150, 2950, &[2]), [(1, 1150)]);
    assert!(liveness.expired(&image, 2999).iter().any(|e| e.may_wait));
    assert_eq!(liveness.expired(&image, 3000)[0], gone);
}

#[test]
#[should_panic(expected = "may be silent too long")]
fn a_broker_that_may_be_silent_for_ever_is_seen() {
    let mut liveness = Liveness::new(LivenessSettings::default(), &image(&[1]), None, 0);
    beat(&mut liveness, 1, 1, 0);
    liveness.validate();
    liveness.contacts.values_mut().for_each(|contact| contact.deadline = i64::MAX / 2);
    liveness.validate();
}
