//! Tests of the order in which the task takes what comes: over a log whose commits a test holds up.

use std::time::Instant;

use base::TopicId;
use metadata::{
    ConfigOp, ConfigOpKind, ConfigResource, HeartbeatRequest, HeartbeatResponse,
    IncrementalAlterConfigs, IncrementalAlterConfigsRequest, RegisterBrokerRequest,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than what counts as a standstill of the controller itself.
const SILENCE_MS: i64 = 500;

#[derive(Clone)]
struct HeldLog {
    image: watch::Sender<Arc<Image>>,
    open: watch::Sender<bool>,
    /// Proposals so far.
    proposed: watch::Sender<usize>,
    /// Whether changes of voters get done.
    changes_voters: watch::Sender<bool>,
}

impl MetadataLog for HeldLog {
    fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    fn propose(
        &self,
        _: u64,
        records: Vec<MetadataRecord>,
    ) -> BoxFuture<Result<u64, ProposeError>> {
        let log = self.clone();
        Box::pin(async move {
            log.proposed.send_modify(|proposed| *proposed += 1);
            log.open.subscribe().wait_for(|open| *open).await.unwrap();
            // As long as a commit takes, others get their turn.
            tokio::task::yield_now().await;
            let mut image = (*log.image()).clone();
            let offset = image.offset() + 1;
            image.apply(offset, &records).unwrap();
            log.image.send_replace(Arc::new(image));
            Ok(offset.unsigned_abs())
        })
    }

    fn change_voters(&self, change: VoterChange) -> BoxFuture<Result<(), ControllerError>> {
        let log = self.clone();
        Box::pin(async move {
            log.changes_voters.subscribe().wait_for(|done| *done).await.unwrap();
            match change {
                VoterChange::Add { .. } => Ok(()),
                VoterChange::Remove { .. } => Err(ErrorCode::VoterNotFound.into()),
            }
        })
    }
}

struct World {
    log: HeldLog,
    mailbox: ControllerMailbox,
    shutdown: Shutdown,
    _leadership: watch::Sender<Leadership>,
}

impl World {
    /// Brokers 1 and 2 are unfenced, on the sessions 1 and 2.
    async fn start() -> World {
        let image = Arc::new(Image::new("cluster"));
        let log = HeldLog {
            image: watch::Sender::new(image),
            open: watch::Sender::new(true),
            proposed: watch::Sender::new(0),
            changes_voters: watch::Sender::new(false),
        };
        let (mailbox, inbox) = ControllerMailbox::new();
        let leads = Leadership { leader: Some(BrokerId(1)), term: 1, is_self: true };
        let (leadership, receiver) = watch::channel(leads);
        let liveness = LivenessSettings { silence_ms: SILENCE_MS, ..LivenessSettings::default() };
        let task = ControllerTask {
            id: BrokerId(1),
            settings: ControllerSettings { liveness, ..ControllerSettings::default() },
            log: Box::new(log.clone()),
            inbox,
            deferred: VecDeque::new(),
            changes: Tasks::new(),
            changing: Arc::new(Semaphore::new(CHANGES_MAX)),
            leadership: receiver,
            entropy: Entropy::from_seed(1),
            metrics: Arc::new(Metrics::new().unwrap()),
        };
        let shutdown = Shutdown::new();
        tokio::spawn(task.run(shutdown.clone()));
        let world = World { log, mailbox, shutdown, _leadership: leadership };
        for id in [1, 2] {
            world.register(id).await;
            assert!(!world.beat(id).await.fenced);
        }
        world
    }

    async fn ask(&self, session: Option<u64>, request: ControllerRequest) -> ControllerResponse {
        let answer = tokio::time::timeout(PATIENCE, self.mailbox.request(session, request));
        answer.await.expect("an answer in time").unwrap()
    }

    async fn register(&self, id: i32) {
        let request = registration(id, TopicId([id as u8; 16]));
        let request = ControllerRequest::RegisterBroker(request);
        let answer = self.ask(Some(id as u64), request).await;
        assert!(matches!(answer, ControllerResponse::RegisterBroker(_)), "{answer:?}");
    }

    async fn beat(&self, id: i32) -> HeartbeatResponse {
        let image = self.log.image();
        let request = HeartbeatRequest {
            broker_id: BrokerId(id),
            broker_epoch: image.broker(BrokerId(id)).unwrap().epoch,
            image_offset: image.offset(),
            want_fence: false,
            want_shutdown: false,
            offline: Vec::new(),
            supports: metadata::LEVEL_MAX,
        };
        match self.ask(Some(id as u64), ControllerRequest::Heartbeat(request)).await {
            ControllerResponse::Heartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Keeps the task busy with changes, each as soon as the last one is committed.
    fn write(&self, key: &'static str) -> tokio::task::JoinHandle<()> {
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            for number in 1.. {
                if mailbox.request(None, change(key, number)).await.is_none() {
                    return;
                }
            }
        })
    }
}

fn registration(id: i32, incarnation_id: TopicId) -> RegisterBrokerRequest {
    RegisterBrokerRequest {
        broker_id: BrokerId(id),
        cluster_id: "cluster".into(),
        incarnation_id,
        listeners: Vec::new(),
        rack: None,
        log_dirs: Vec::new(),
        log_dir_paths: Vec::new(),
        cordoned_log_dirs: "".into(),
        clean_shutdown_epoch: None,
        supports: metadata::LEVEL_MAX,
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.close_connections();
    }
}

fn change(key: &str, number: u64) -> ControllerRequest {
    let value = Some(number.to_string().into());
    let ops = vec![ConfigOp { name: key.into(), kind: ConfigOpKind::Set, value }];
    let resources = vec![IncrementalAlterConfigs { resource: ConfigResource::BrokerDefault, ops }];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    ControllerRequest::IncrementalAlterConfigs(request)
}

#[tokio::test]
async fn a_load_that_never_ends_does_not_keep_a_dead_broker_unfenced() {
    let world = World::start().await;
    let writers = [world.write("log.retention.ms"), world.write("producer.id.expiration.ms")];
    let (broker, session) = (BrokerId(2), 2);
    world.mailbox.session(SessionEvent::Closed { broker, session });
    world.mailbox.session(SessionEvent::Ended { broker, session });
    let mut images = world.log.image.subscribe();
    let fenced = images.wait_for(|image| image.broker(BrokerId(2)).unwrap().fenced);
    tokio::time::timeout(PATIENCE, fenced).await.expect("fenced in time").unwrap();
    writers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_slow_commit_is_not_the_brokers_silence() {
    let world = World::start().await;
    world.log.open.send_replace(false);
    let mailbox = world.mailbox.clone();
    let before = *world.log.proposed.borrow();
    let slow =
        tokio::spawn(async move { mailbox.request(None, change("num.io.threads", 1)).await });
    let mut proposed = world.log.proposed.subscribe();
    proposed.wait_for(|proposed| *proposed > before).await.unwrap();
    // Answered, though nothing is committed.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2 * SILENCE_MS.unsigned_abs()) {
        for id in [1, 2] {
            assert!(!world.beat(id).await.fenced);
        }
    }
    assert!(!slow.is_finished());
    world.log.open.send_replace(true);
    assert!(slow.await.unwrap().is_some());
    for id in [1, 2] {
        assert!(!world.beat(id).await.fenced);
    }
    assert_eq!(*world.log.proposed.borrow(), before + 1, "nobody was fenced meanwhile");
}

#[tokio::test]
async fn a_second_process_with_a_brokers_id_does_not_get_the_broker_fenced() {
    let world = World::start().await;
    // It opens a session of its own, is refused, and goes.
    let (broker, session) = (BrokerId(2), 22);
    world.mailbox.session(SessionEvent::Opened { broker, session });
    let request = registration(2, TopicId([99; 16]));
    let payload = metadata::encode_request(&ControllerRequest::RegisterBroker(request)).into();
    let answer = world.mailbox.clone();
    let answer = ControllerHandler::request(&answer, broker, session, payload).await.unwrap();
    let answer = metadata::decode_response(&answer).unwrap();
    let refused = ErrorCode::DuplicateBrokerRegistration;
    assert!(matches!(answer, ControllerResponse::Error(e) if e.code == refused));
    world.mailbox.session(SessionEvent::Closed { broker, session });
    world.mailbox.session(SessionEvent::Ended { broker, session });
    // What comes on the broker's own connection still counts as its own, and the end of it too.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        world.beat(1).await;
        assert!(!world.beat(2).await.fenced);
    }
    world.mailbox.session(SessionEvent::Closed { broker, session: 2 });
    world.mailbox.session(SessionEvent::Ended { broker, session: 2 });
    let mut images = world.log.image.subscribe();
    let fenced = images.wait_for(|image| image.broker(broker).unwrap().fenced);
    tokio::time::timeout(PATIENCE, fenced).await.expect("fenced in time").unwrap();
}

#[tokio::test]
async fn nobody_speaks_for_another_broker() {
    let world = World::start().await;
    let request = ControllerRequest::Heartbeat(HeartbeatRequest {
        broker_id: BrokerId(2),
        broker_epoch: world.log.image.borrow().broker(BrokerId(2)).unwrap().epoch,
        image_offset: 0,
        want_fence: false,
        want_shutdown: false,
        offline: Vec::new(),
        supports: metadata::LEVEL_MAX,
    });
    let payload = Bytes::from(metadata::encode_request(&request));
    let asked =
        |from| ControllerHandler::request(&world.mailbox, BrokerId(from), 9, payload.clone());
    assert!(asked(1).await.is_err());
    assert!(asked(2).await.is_ok());
}

#[tokio::test]
async fn no_request_waits_for_a_change_of_voters() {
    let world = World::start().await;
    let changing = |change| {
        let mailbox = world.mailbox.clone();
        tokio::spawn(async move { mailbox.request(Some(2), change).await.unwrap() })
    };
    let voter = BrokerId(2);
    let add = ControllerRequest::from(VoterChange::Add { voter, patience_ms: 30_000 });
    let remove = ControllerRequest::from(VoterChange::Remove { voter });
    let (added, removed) = (changing(add), changing(remove));
    for number in 1..=3 {
        world.ask(None, change("num.io.threads", number)).await;
        world.beat(2).await;
    }
    assert!(!added.is_finished() && !removed.is_finished());
    world.log.changes_voters.send_replace(true);
    assert_eq!(added.await.unwrap(), ControllerResponse::ChangeVoters);
    let refused = ErrorCode::VoterNotFound;
    assert!(matches!(removed.await.unwrap(), ControllerResponse::Error(e) if e.code == refused));
}

#[tokio::test]
async fn changes_of_voters_under_way_have_a_bound() {
    let world = World::start().await;
    let add = ControllerRequest::from(VoterChange::Add { voter: BrokerId(2), patience_ms: 0 });
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..=CHANGES_MAX {
        let (mailbox, add) = (world.mailbox.clone(), add.clone());
        asked.spawn(async move { mailbox.request(None, add).await.unwrap() });
    }
    let first = asked.join_next().await.unwrap().unwrap();
    let refused = ErrorCode::RequestTimedOut;
    assert!(matches!(first, ControllerResponse::Error(e) if e.code == refused));
    world.log.changes_voters.send_replace(true);
    while let Some(done) = asked.join_next().await {
        assert_eq!(done.unwrap(), ControllerResponse::ChangeVoters);
    }
}
