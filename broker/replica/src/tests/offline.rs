//! A replica whose log was torn by a cut that failed, and comes back.

use super::*;

/// A follower with 8 records of which 6 are committed; cutting it down to 7 has failed.
fn torn() -> Replica {
    let mut replica = Replica::new(1, 8, 6);
    replica.assign(Some(2), 1, 1, &[1, 2]);
    replica.on(Event::LogChanged(log(0, 7)));
    let effects = replica.on(Event::LogTorn);
    assert!(effects.contains(&Effect::Idle), "{effects:?}");
    assert_eq!(replica.on(Event::LogTorn), []);
    replica
}

#[test]
fn a_torn_log_has_no_role_until_it_is_opened_again() {
    let mut replica = torn();
    assert!(replica.core.is_offline());
    assert_eq!(replica.assign(Some(1), 2, 2, &[1, 2]), [], "it is not to lead on a torn log");
    assert_eq!(replica.core.check_produce(1), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(replica.assign(Some(2), 1, 1, &[1]), [], "an older image says nothing");
    let effects = replica.on(Event::LogReopened(log(0, 7)));
    assert!(effects.contains(&Effect::BecomeLeader { epoch: 2, start_offset: 7 }), "{effects:?}");
    assert!(!replica.core.is_offline());
    assert_eq!((replica.hw(), replica.core.isr()), (6, ids(&[1, 2]).as_slice()));
}

#[test]
fn the_same_image_counts_again() {
    let mut replica = torn();
    let effects = replica.on(Event::LogReopened(log(0, 6)));
    assert!(effects.contains(&Effect::Follow { leader: B2, epoch: 1 }), "{effects:?}");
    assert_eq!(replica.on(Event::LogReopened(log(0, 3))), [], "only what was torn");
    assert_eq!(replica.core.log(), log(0, 6));
}

#[test]
fn a_log_that_lacks_committed_records_stays_away_until_it_is_out_of_the_isr() {
    let mut replica = torn();
    replica.on(Event::LogReopened(log(0, 5)));
    assert!(replica.core.is_offline() && replica.hw() == 5);
    assert_eq!(replica.assign(Some(1), 2, 2, &[1, 2]), [], "record 5 would be lost");
    let effects = replica.assign(Some(2), 3, 3, &[2]);
    assert!(effects.contains(&Effect::Follow { leader: B2, epoch: 3 }), "{effects:?}");
}

#[test]
fn a_log_that_began_anew_behind_its_leader_is_not_short() {
    let mut replica = Replica::new(1, 8, 6);
    replica.assign(Some(2), 1, 1, &[2]);
    replica.on(Event::LogChanged(log(20, 20)));
    replica.on(Event::LogTorn);
    let effects = replica.on(Event::LogReopened(log(20, 20)));
    assert!(effects.contains(&Effect::Follow { leader: B2, epoch: 1 }), "{effects:?}");
    assert_eq!(replica.hw(), 20);
}
