//! Any sequence of events keeps the invariants of one replica, and completes each ticket once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Assign { leader: Option<i32>, bump: bool, isr: u8 },
    Append(i64),
    Await(i64),
    Fetch { replica: i32, back: i64, epoch: i32, eligible: bool },
    Answer(u8),
    Eligibility { broker: i32, eligible: bool },
    Pass(i64),
    Truncate(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (prop_oneof![Just(None), Just(Some(1)), Just(Some(2))], any::<bool>(), any::<u8>())
            .prop_map(|(leader, bump, isr)| Step::Assign { leader, bump, isr }),
        4 => (1..5i64).prop_map(Step::Append),
        4 => (0..3i64).prop_map(Step::Await),
        8 => (2..4i32, 0..6i64, 5..9i32, any::<bool>())
            .prop_map(|(replica, back, epoch, eligible)| {
                Step::Fetch { replica, back, epoch, eligible }
            }),
        3 => (0..5u8).prop_map(Step::Answer),
        1 => (2..4i32, any::<bool>())
            .prop_map(|(broker, eligible)| Step::Eligibility { broker, eligible }),
        2 => (1..2 * LAG_MS).prop_map(Step::Pass),
        1 => (0..5i64).prop_map(Step::Truncate),
    ];
    prop::collection::vec(step, 1..80)
}

fn isr_of(bits: u8) -> Vec<i32> {
    let mut isr = vec![1];
    isr.extend((2..4).filter(|id| bits & (1 << id) != 0));
    isr
}

struct Run {
    replica: Replica,
    tickets: BTreeSet<u64>,
    next_ticket: u64,
}

impl Run {
    fn step(&mut self, step: Step) {
        let replica = &mut self.replica;
        let end = replica.core.log().end;
        let epoch = replica.core.partition_epoch();
        let effects = match step {
            Step::Assign { leader, bump, isr } => {
                // A change of leader is always a new epoch.
                let bump = bump || leader != replica.core.leader().map(|id| id.0);
                let leader_epoch = replica.core.leader_epoch() + i32::from(bump);
                replica.assign(leader, leader_epoch.max(0), epoch + 1, &isr_of(isr))
            }
            Step::Append(count) => replica.append(end + count),
            Step::Await(back) => {
                self.next_ticket += 1;
                self.tickets.insert(self.next_ticket);
                let required = (end - back).max(0);
                replica.on(Event::AwaitCommit { ticket: self.next_ticket, required })
            }
            Step::Fetch { replica: id, back, epoch, eligible } => {
                let mut fetch = replica.fetch_of(BrokerId(id), (end - back).max(0));
                fetch.broker_epoch = i64::from(epoch);
                fetch.eligible = eligible;
                replica.fetch_with(fetch).1
            }
            Step::Answer(kind) => replica.on(Event::IsrAnswer(match kind {
                0 => IsrAnswer::Accepted {
                    leader_epoch: replica.core.leader_epoch(),
                    partition_epoch: epoch + 1,
                },
                1 => IsrAnswer::Unknown { partition_epoch: epoch },
                2 => IsrAnswer::Rejected {
                    partition_epoch: epoch,
                    error: ErrorCode::IneligibleReplica,
                },
                _ => IsrAnswer::Rejected {
                    partition_epoch: epoch,
                    error: ErrorCode::InvalidUpdateVersion,
                },
            })),
            Step::Eligibility { broker, eligible } => {
                replica.on(Event::Eligibility { broker: BrokerId(broker), eligible })
            }
            Step::Pass(ms) => {
                replica.now_ms += ms;
                replica.on(Event::Tick)
            }
            Step::Truncate(back) if !replica.core.is_leader() => {
                replica.on(Event::LogChanged(log(0, (end - back).max(0))))
            }
            Step::Truncate(_) => Vec::new(),
        };
        for effect in effects {
            if let Effect::Complete { ticket, .. } = effect {
                assert!(self.tickets.remove(&ticket), "completed twice: {ticket}");
            }
        }
        assert_eq!(self.tickets.len(), self.replica.core.waiting());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_any_events(steps in steps(), min_isr in 1..3usize) {
        let mut run = Run {
            replica: Replica::leader(min_isr, &[1, 2, 3]),
            tickets: BTreeSet::new(),
            next_ticket: 0,
        };
        for step in steps {
            run.step(step);
        }
    }
}
