//! Errands of a transaction shard, and the log that its successor goes on from.
#![allow(clippy::unwrap_used)]

use coordinator::txn::{
    AddPartitions, EndTransaction, InitProducer, Markers, Producer, TxnConfig, TxnErrand, TxnReply,
    TxnRequest, TxnShard, TxnState,
};
use parking_lot::Mutex;
use storage::partition::testing::{ME, Rig};

use super::*;

const PRODUCER: Producer = Producer { id: 7, epoch: 0 };

/// Keeps the markers that it is asked for.
#[derive(Default)]
struct Asked(Mutex<Vec<(LeaderEpoch, Markers)>>);

impl Errands<TxnShard> for Asked {
    fn take(&self, from: Giver<TxnShard>, errand: TxnErrand) {
        let TxnErrand::WriteMarkers(markers) = errand else { panic!("{errand:?}") };
        self.0.lock().push((from.epoch, markers));
    }
}

/// A shard that was loaded from the partition's log, as its leader does in this epoch.
fn loaded(rig: &Rig, epoch: LeaderEpoch) -> (Running<TxnShard>, Arc<Asked>) {
    let partition = rig.partition.clone();
    rig.assign_in(ME, epoch, &[ME]);
    let (shard, _) = load::<TxnShard>(&partition, TxnConfig::kafka_defaults()).unwrap();
    let asked = Arc::<Asked>::default();
    let mut running = Running {
        high_watermark: HighWatermark::new(partition.clone(), epoch),
        partition,
        epoch,
        shard,
        deletions: Arc::default(),
        cluster: watch::Sender::new(None).subscribe(),
        mailbox: Mailbox::new().0,
        errands: asked.clone(),
        tickets: HashMap::new(),
        next_ticket: 0,
        appended: VecDeque::new(),
    };
    running.start();
    (running, asked)
}

fn ask(running: &mut Running<TxnShard>, request: TxnRequest) -> TxnReply {
    let (answer, mut answered) = oneshot::channel();
    running.round_now(vec![Command { request, answer, after: 0 }], true);
    answered.try_recv().unwrap()
}

fn state(running: &Running<TxnShard>) -> TxnState {
    running.shard.transactions().next().unwrap().1.state
}

/// A transaction of partition 3 of `u`, whose commit is decided.
fn commit(running: &mut Running<TxnShard>) {
    let id: Arc<str> = "x".into();
    let init = InitProducer {
        id: id.clone(),
        timeout_ms: 60_000,
        expected: None,
        new_producer_id: Some(PRODUCER.id),
        level: 2,
    };
    assert_eq!(ask(running, TxnRequest::Init(init)), TxnReply::Init(Ok(PRODUCER)));
    let partitions = [("u".into(), [3].into())].into();
    let (version, level) = (0, 2);
    let add = AddPartitions { id: id.clone(), producer: PRODUCER, partitions, version, level };
    assert_eq!(ask(running, TxnRequest::Add(add)), TxnReply::Add(ErrorCode::None));
    let end = EndTransaction {
        id,
        producer: PRODUCER,
        is_commit: true,
        version,
        new_producer_id: None,
        level,
    };
    assert_eq!(ask(running, TxnRequest::End(end)), TxnReply::End(Ok(PRODUCER)));
}

#[test]
fn markers_are_asked_for_again_by_the_next_leader_until_they_are_written() {
    let rig = Rig::new(i64::MAX);
    let (mut first, asked) = loaded(&rig, 1);
    commit(&mut first);
    let (epoch, markers) = asked.0.lock().pop().unwrap();
    assert_eq!((epoch, markers.is_commit, markers.producer), (1, true, PRODUCER));

    let (mut second, asked) = loaded(&rig, 2);
    let (epoch, again) = asked.0.lock().pop().expect("what is decided goes on");
    assert_eq!((epoch, &again.partitions), (2, &markers.partitions));
    assert_eq!(state(&second), TxnState::PrepareCommit);
    ask(&mut second, TxnRequest::MarkersWritten { id: again.id, number: again.number });
    assert_eq!(state(&second), TxnState::CompleteCommit);

    let (third, asked) = loaded(&rig, 3);
    assert_eq!((state(&third), asked.0.lock().len()), (TxnState::CompleteCommit, 0));
    // The log of the first leader's epoch is closed to it: it completes nothing.
    let reply =
        ask(&mut first, TxnRequest::MarkersWritten { id: markers.id, number: markers.number });
    assert_eq!(reply, TxnReply::Noted(ErrorCode::None));
    assert_eq!(state(&first), TxnState::PrepareCommit);
}
