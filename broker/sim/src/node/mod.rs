//! A broker: a process that comes and goes, and a disk that stays. The process is a driver around
//! the cores, kept as close to `broker/storage/src/partition` and its neighbours as one loop
//! allows.

mod control;
mod follow;
mod group;
mod hosted;
mod lifecycle;
mod producers;
mod serve;

use std::collections::BTreeMap;
use std::path::Path;

use base::{BrokerEpoch, BrokerId, Offset, TopicId};
use commitlog::fs::{Fs, MemFs};
use metadata::Image;

use crate::content::BatchId;
use crate::disk_fault::Slowness;
use crate::message::{Addr, Body, Envelope, Tp};
use crate::quorum::Instance;
use crate::world::{World, node_id};

pub(crate) use self::hosted::Replica;
pub(crate) use control::Call;
pub(crate) use lifecycle::LOG_DIR;
pub(crate) use lifecycle::Loss;

/// What survives the process, and what the checks know of it.
pub(crate) struct Disk {
    pub(crate) fs: MemFs,
    /// What was written to each log and not truncated.
    pub(crate) content: Vec<Vec<BatchId>>,
    /// What could not be written to each log since it was opened.
    pub(crate) refused: Vec<Vec<BatchId>>,
    /// Everything below is durable, as the last process knew it.
    pub(crate) synced: Vec<Offset>,
    /// Power was lost (or the disk) since the process last registered.
    pub(crate) lost: bool,
    /// The logs that were not opened since power was lost.
    pub(crate) torn: Vec<bool>,
    /// The logs that were not closed, nor recovered since.
    pub(crate) unclean: Vec<bool>,
    pub(crate) slow: Slowness,
    /// It is full, or about to fail what is asked of it.
    pub(crate) spoiled: bool,
}

impl Disk {
    pub(crate) fn new(partitions: usize) -> Disk {
        let fs = MemFs::new();
        // The log directory was there long before the run.
        let made = fs.create_dir_all(Path::new(LOG_DIR)).and_then(|()| fs.sync_dir(Path::new("/")));
        assert!(made.is_ok(), "invariant: an empty disk without faults takes a directory");
        Disk {
            fs,
            content: vec![Vec::new(); partitions],
            refused: vec![Vec::new(); partitions],
            synced: vec![0; partitions],
            lost: false,
            torn: vec![false; partitions],
            unclean: vec![false; partitions],
            slow: Slowness::default(),
            spoiled: false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Registration {
    Missing,
    Epoch(BrokerEpoch),
}

/// What a process asked to be reminded of.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    Heartbeat,
    /// The ISR check of all leaders.
    Tick,
    Checkpoint,
    Controller {
        epoch: i64,
    },
    CreateTopics,
    CallTimeout {
        id: u64,
    },
    IsrUnknown {
        tp: Tp,
        partition_epoch: i32,
    },
    FetchAgain {
        tp: Tp,
    },
    /// A torn log is to be opened again.
    Reopen {
        tp: Tp,
    },
    FetchTimeout {
        tp: Tp,
        id: u64,
    },
    ParkTimeout {
        tp: Tp,
        id: u64,
    },
    ProduceTimeout {
        tp: Tp,
        ticket: u64,
    },
    ShardTick {
        tp: Tp,
    },
    ShardLoad {
        tp: Tp,
    },
    ShardLook {
        tp: Tp,
    },
}

pub(crate) struct Node {
    pub(crate) id: BrokerId,
    /// Of the process; messages and timers of an earlier one are void.
    pub(crate) incarnation: u64,
    pub(crate) up: bool,
    pub(crate) paused_until_ms: i64,
    /// Metadata entries that arrived; they are durable.
    pub(crate) image_at: usize,
    pub(crate) registration: Registration,
    /// The broker epoch in the clean-shutdown marker that this process found.
    clean_epoch: Option<BrokerEpoch>,
    /// The image that the partitions follow.
    pub(crate) published: Option<Image>,
    session: u64,
    pub(crate) believed: Option<usize>,
    pub(crate) controller: Option<Instance>,
    pub(crate) replicas: BTreeMap<Tp, Replica>,
    calls: BTreeMap<u64, Call>,
    pub(crate) stopping: bool,
}

impl Node {
    pub(crate) fn new(node: usize) -> Node {
        Node {
            id: node_id(node),
            incarnation: 0,
            up: false,
            paused_until_ms: 0,
            image_at: 0,
            registration: Registration::Missing,
            clean_epoch: None,
            published: None,
            session: 0,
            believed: None,
            controller: None,
            replicas: BTreeMap::new(),
            calls: BTreeMap::new(),
            stopping: false,
        }
    }

    pub(crate) fn is_up(&self, incarnation: u64) -> bool {
        self.up && self.incarnation == incarnation
    }

    /// What the process calls itself when it registers.
    pub(crate) fn incarnation_id(&self) -> TopicId {
        TopicId((u128::from(self.incarnation) << 8 | self.id.0 as u128 | 1 << 100).to_be_bytes())
    }

    pub(crate) fn broker_epoch(&self) -> BrokerEpoch {
        match self.registration {
            Registration::Epoch(epoch) => epoch,
            Registration::Missing => -1,
        }
    }
}

impl World {
    pub(crate) fn node_receives(&mut self, n: usize, envelope: Envelope) {
        let from = (envelope.from, envelope.from_incarnation);
        match envelope.body {
            Body::Fetch { id, tp, fetch } => self.serve_fetch(n, from, id, tp, fetch),
            Body::FetchAnswer { id, tp, answer, bytes } => {
                self.fetch_answered(n, id, tp, &answer, &bytes);
            }
            Body::Control { id, session, request } => self.control(n, from, id, session, request),
            Body::ControlAnswer { id, response } => self.control_answered(n, id, response),
            Body::Produce { id, tp, acks, bytes } => {
                self.serve_produce(n, from, id, tp, acks, &bytes);
            }
            Body::Consume { id, tp, fetch } => self.serve_consume(n, from, id, tp, fetch),
            Body::Group { id, request } => self.serve_group(n, from, id, request),
            Body::ProduceAnswer { .. } | Body::ConsumeAnswer { .. } | Body::GroupAnswer { .. } => {}
        }
    }

    pub(crate) fn node_timer(&mut self, n: usize, timer: Timer) {
        match timer {
            Timer::Heartbeat => self.heartbeat(n),
            Timer::Tick => self.tick_replicas(n),
            Timer::Checkpoint => self.checkpoint(n),
            Timer::Controller { epoch } => self.controller_tick(n, epoch),
            Timer::CreateTopics => self.create_topics(n),
            Timer::CallTimeout { id } => self.call_failed(n, id),
            Timer::IsrUnknown { tp, partition_epoch } => {
                let answer = replica::IsrAnswer::Unknown { partition_epoch };
                self.drive(n, tp, replica::Event::IsrAnswer(answer));
            }
            Timer::FetchAgain { tp } => self.send_fetch(n, tp),
            Timer::Reopen { tp } => self.reopen_log(n, tp),
            Timer::FetchTimeout { tp, id } => self.fetch_timed_out(n, tp, id),
            Timer::ParkTimeout { tp, id } => self.park_timed_out(n, tp, id),
            Timer::ProduceTimeout { tp, ticket } => self.produce_timed_out(n, tp, ticket),
            Timer::ShardTick { tp } => self.shard_tick(n, tp),
            Timer::ShardLoad { tp } => self.load_shard_again(n, tp),
            Timer::ShardLook { tp } => self.shard_looks(n, tp),
        }
    }

    pub(crate) fn answer(&mut self, n: usize, to: (Addr, u64), body: Body) {
        self.send_to(Addr::Node(n), to.0, to.1, body);
    }
}
