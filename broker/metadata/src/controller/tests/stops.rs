//! Tests of when brokers leave their ISRs: stops that wait, and fencing that is put off.

use super::*;

const TWO: (&str, &str) = ("min.insync.replicas", "2");

impl World {
    /// The broker asks to stop. Returns whether it was granted or is under way.
    fn ask_to_stop(&mut self, id: i32) -> bool {
        let request = HeartbeatRequest { want_shutdown: true, ..self.heartbeat_of(id) };
        self.heartbeat(request).unwrap();
        self.image.broker(b(id)).unwrap().in_controlled_shutdown
    }

    fn is_fenced(&self, id: i32) -> bool {
        self.image.broker(b(id)).unwrap().fenced
    }
}

/// Three brokers, everything on all of them, and 3 is back but not in sync yet.
fn one_behind() -> World {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[TWO]);
    world.kill(&[3]);
    world.start(3);
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![]));
    world
}

#[test]
fn a_stop_waits_for_a_replica_that_is_coming_back() {
    let mut world = one_behind();
    assert!(!world.ask_to_stop(2), "broker 3 is not in sync yet");
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![]));
    world.pass(1000, &[1, 2, 3]);
    world.set_isr("t", &[1, 2, 3]);
    assert!(world.ask_to_stop(2));
    assert_eq!(world.state("t"), (1, vec![1, 3], vec![]));
}

#[test]
fn a_stop_waits_for_a_broker_that_crashed_too_but_not_for_ever() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[TWO]);
    world.kill(&[3]);
    assert!(!world.ask_to_stop(2));
    for _ in 0..14 {
        world.pass(1000, &[1, 2]);
        assert!(!world.ask_to_stop(2));
    }
    world.pass(950, &[1, 2]);
    assert!(!world.ask_to_stop(2));
    world.pass(50, &[1, 2]);
    assert!(world.ask_to_stop(2));
    assert_eq!(world.state("t"), (1, vec![1], vec![2]));
}

#[test]
fn a_new_process_of_the_broker_waits_anew() {
    let mut world = one_behind();
    assert!(!world.ask_to_stop(2));
    world.pass(16_000, &[1, 2, 3]);
    world.kill(&[2]);
    world.start(2);
    world.set_isr("t", &[1, 2]);
    assert!(!world.ask_to_stop(2));
}

#[test]
fn a_stop_that_harms_nothing_or_that_nobody_can_mend_does_not_wait() {
    let mut world = World::new(4);
    world.topic("t", &[1, 2, 3], &[TWO]);
    world.topic("alone", &[4], &[]);
    assert!(world.ask_to_stop(3), "two are left");
    assert!(world.ask_to_stop(2), "nobody is on the way back: 3 is stopping");
    assert!(world.ask_to_stop(4), "it has the only replica");
}

#[test]
fn brokers_that_all_stop_do_not_wait_for_each_other() {
    let mut world = one_behind();
    assert!(!world.ask_to_stop(2));
    assert!(!world.ask_to_stop(1));
    assert!(world.ask_to_stop(3), "that was the last one");
    assert!(world.ask_to_stop(2) && world.ask_to_stop(1));
}

/// When each broker was fenced, with a broken session of none.
fn silence(world: &mut World, silent: i32, beating: &[i32]) -> i64 {
    world.beat(silent);
    let start = world.now;
    while !world.is_fenced(silent) {
        assert!(world.now - start < 10_000);
        world.pass(50, beating);
    }
    world.now - start
}

#[test]
fn a_silent_broker_is_not_fenced_at_once_where_that_only_harms() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[TWO]);
    world.kill(&[3]);
    let mut paused = world.clone();
    assert_eq!(silence(&mut paused, 2, &[1]), 3000);
    // It was heard again: nothing has happened.
    world.beat(2);
    world.pass(2500, &[1]);
    assert!(!world.is_fenced(2));
    world.pass(2500, &[1, 2]);
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![]));
    // Its process died: there is nothing to wait for.
    world.kill(&[2]);
}

#[test]
fn a_silent_broker_is_fenced_at_once_where_that_helps() {
    // All are in sync: the leader is needed elsewhere.
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[TWO]);
    assert_eq!(silence(&mut world, 1, &[2, 3]), 1000);
    assert_eq!(world.state("t"), (2, vec![2, 3], vec![]));
    // One partition would suffer, another waits for its leader or for a follower.
    for helped in [[2, 1, 4], [4, 1, 2]] {
        let mut world = World::new(4);
        world.topic("t", &[1, 2, 3], &[TWO]);
        world.topic("u", &helped, &[TWO]);
        world.kill(&[3]);
        assert_eq!(silence(&mut world, 2, &[1, 4]), 1000);
    }
    // Broker 3 can catch up under another leader only. A follower is not in its way.
    assert_eq!(silence(&mut one_behind(), 1, &[2, 3]), 1000);
    assert_eq!(silence(&mut one_behind(), 2, &[1, 3]), 3000);
    // What has one replica neither gains nor loses.
    let mut world = World::new(3);
    world.topic("t", &[1, 2, 3], &[TWO]);
    world.topic("alone", &[2], &[]);
    world.kill(&[3]);
    assert_eq!(silence(&mut world, 2, &[1]), 3000);
}

#[test]
fn of_several_silent_brokers_those_are_fenced_that_can_be_spared() {
    let mut world = World::new(4);
    world.topic("t", &[1, 2, 3], &[TWO]);
    [1, 2, 3].iter().for_each(|id| {
        world.beat(*id);
    });
    world.pass(1000, &[4, 1]);
    assert!(world.is_fenced(2) && !world.is_fenced(3));
    assert_eq!(world.state("t"), (1, vec![1, 3], vec![]));
}
