//! A broker: a process that comes and goes, and a disk that stays. The process is made of what
//! ships: `storage`, `coordination` and `control` with their own tasks. What they would ask of the
//! network, the quorum and the operating system comes to the world as posts.

mod boot;
mod lifecycle;
mod link;
mod seen;
mod serve;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{BrokerId, Offset};
use bytes::Bytes;
use commitlog::fs::{Fs, MemFs};
use metadata::{ControllerRequest, MetadataRecord};
use parking_lot::Mutex;
use quorum::{CallError, ProposeError};
use replica::IsrProposal;
use storage::partition::Partition;
use tokio::sync::oneshot;
use wire::messages::{FetchRequest, FetchResponse};

use crate::check::isr_kept::Proposal;
use crate::content::BatchId;
use crate::disk_fault::Slowness;
use crate::message::{Addr, Body, Envelope, Tp};
use crate::world::{World, node_id};

pub(crate) use boot::{Process, config};
pub(crate) use lifecycle::{LOG_DIR, Loss};
pub(crate) use link::{Link, LinkEnd};
pub(crate) use seen::{Known, Seen};

/// What survives the process, and what the checks know of it.
pub(crate) struct Disk {
    pub(crate) fs: MemFs,
    /// What was written to each log and not truncated.
    pub(crate) content: Vec<Vec<BatchId>>,
    /// Each log may hold what could not be written to it, since it was opened.
    pub(crate) was_spoiled: Vec<bool>,
    /// Everything below is durable, as the last process knew it.
    pub(crate) synced: Vec<Offset>,
    /// Power was lost (or the disk) since the process last registered.
    pub(crate) lost: bool,
    /// The logs that were not opened since power was lost.
    pub(crate) torn: Vec<bool>,
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
            was_spoiled: vec![false; partitions],
            synced: vec![0; partitions],
            lost: false,
            torn: vec![false; partitions],
            slow: Slowness::default(),
            spoiled: false,
        }
    }
}

/// What comes by the clock.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// The ISR check of all leaders.
    Tick,
    Checkpoint,
    /// For the threads that wait for the disk.
    DiskWork,
    CallTimeout {
        id: u64,
    },
}

/// What a process asks of the world.
pub(crate) enum Post {
    /// To a client, or to another broker, as of this process of it.
    Answer {
        to: (Addr, u64),
        body: Body,
    },
    Fetch {
        link: u64,
        leader: usize,
        end: Arc<LinkEnd>,
        request: Box<FetchRequest>,
    },
    Fetched {
        link: u64,
        response: Option<FetchResponse>,
    },
    Close {
        link: u64,
    },
    Call {
        payload: Bytes,
        answer: oneshot::Sender<Result<Bytes, CallError>>,
    },
    Controlled {
        to: (Addr, u64),
        id: u64,
        request: ControllerRequest,
        result: Result<Bytes, String>,
    },
    Propose {
        term: u64,
        records: Vec<MetadataRecord>,
        done: oneshot::Sender<Result<u64, ProposeError>>,
    },
}

pub(crate) type Posts = Arc<Mutex<Vec<(usize, u64, Post)>>>;

/// A process' way to the world.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
    pub(crate) posts: Posts,
    pub(crate) ids: Arc<AtomicU64>,
}

impl Outside {
    pub(crate) fn post(&self, post: Post) {
        self.posts.lock().push((self.node, self.incarnation, post));
    }

    pub(crate) fn fresh_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) struct Node {
    pub(crate) id: BrokerId,
    /// Of the process; messages and timers of an earlier one are void.
    pub(crate) incarnation: u64,
    pub(crate) booted_ms: i64,
    pub(crate) up: bool,
    pub(crate) paused_until_ms: i64,
    /// Metadata entries that arrived; they are durable.
    pub(crate) image_at: usize,
    pub(crate) session: u64,
    pub(crate) process: Option<Process>,
    pub(crate) known: BTreeMap<Tp, Known>,
    pub(crate) stopping: bool,
    pub(crate) works: bool,
}

impl Node {
    pub(crate) fn new(node: usize) -> Node {
        Node {
            id: node_id(node),
            incarnation: 0,
            booted_ms: 0,
            up: false,
            paused_until_ms: 0,
            image_at: 0,
            session: 0,
            process: None,
            known: BTreeMap::new(),
            stopping: false,
            works: false,
        }
    }

    pub(crate) fn is_up(&self, incarnation: u64) -> bool {
        self.up && self.incarnation == incarnation
    }
}

impl World {
    pub(crate) fn node_receives(&mut self, n: usize, envelope: Envelope) {
        let from = (envelope.from, envelope.from_incarnation);
        self.runtime.enter(n);
        match envelope.body {
            Body::Fetch { link, request } => self.serve_fetch(n, link, request),
            Body::FetchAnswer { link, response } => self.fetch_arrives(link, *response),
            Body::Control { id, session, payload } => self.control(n, from, id, session, payload),
            Body::ControlAnswer { id, result } => {
                self.call_ends(id, result.map_err(CallError::Refused));
            }
            Body::Produce { id, tp, acks, bytes } => {
                self.serve_produce(n, from, id, tp, acks, bytes);
            }
            Body::Consume { id, tp, fetch } => self.serve_consume(n, from, id, tp, fetch),
            Body::Group { id, request } => self.serve_group(n, from, id, request),
            Body::ProduceAnswer { .. } | Body::ConsumeAnswer { .. } | Body::GroupAnswer { .. } => {}
        }
    }

    pub(crate) fn node_timer(&mut self, n: usize, timer: Timer) {
        self.runtime.enter(n);
        match timer {
            Timer::Tick => self.tick_replicas(n),
            Timer::Checkpoint => self.checkpoint(n),
            Timer::DiskWork => self.work_on_disk(n),
            Timer::CallTimeout { id } => {
                self.call_ends(id, Err(CallError::NoAnswer("no answer in time".to_owned())));
            }
        }
    }

    /// Acts upon what processes posted.
    pub(crate) fn take_posts(&mut self) {
        loop {
            let posts = std::mem::take(&mut *self.posts.lock());
            if posts.is_empty() {
                return;
            }
            for (n, incarnation, post) in posts {
                match post {
                    Post::Close { link } => self.close_link(link),
                    post if self.nodes[n].is_up(incarnation) => self.take_post(n, post),
                    _ => {}
                }
            }
        }
    }

    fn take_post(&mut self, n: usize, post: Post) {
        match post {
            Post::Answer { to, body } => self.send_to(Addr::Node(n), to.0, to.1, body),
            Post::Fetch { link, leader, end, request } => {
                self.send_fetch(n, link, leader, end, request);
            }
            Post::Fetched { link, response } => self.answer_fetch(n, link, response),
            Post::Close { link } => self.close_link(link),
            Post::Call { payload, answer } => self.call_leader(n, payload, answer),
            Post::Controlled { to, id, request, result } => {
                self.check_accepted(n, to.0, &request, &result);
                let body = Body::ControlAnswer { id, result };
                self.send_to(Addr::Node(n), to.0, to.1, body);
            }
            Post::Propose { term, records, done } => self.propose(n, term, records, done),
        }
    }

    /// Looks at the ISRs that leaders are about to propose.
    pub(crate) fn see_proposals(&mut self, n: usize) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        for (partition, proposal) in process.storage.partitions.outbox().isr_proposals.waiting() {
            self.see_proposal(n, &partition, &proposal);
        }
    }

    fn see_proposal(&mut self, n: usize, partition: &Partition, proposal: &IsrProposal) {
        let Some(tp) = self.tp_of(&partition.id) else { return };
        let Some(image) = self.nodes[n].process.as_ref().map(|p| p.storage.image()) else { return };
        let Some(known) = self.nodes[n].known.get_mut(&tp) else { return };
        // Judged once, when it is new: it may wait for the controller beside one that is outdated.
        if known.proposed.is_some_and(|seen| seen >= proposal.partition_epoch) {
            return;
        }
        known.proposed = Some(proposal.partition_epoch);
        let behind = known.behind.clone();
        let (high_watermark, moved_ms) = (known.high_watermark(), known.moved_ms);
        let state = image.partition(&partition.id.topic, partition.id.partition);
        let (Some(moved_ms), Some(state)) = (moved_ms, state) else { return };
        // A process that began since may not have what the one before it had.
        let had_all = |id: BrokerId| {
            self.nodes.iter().any(|node| node.id == id && node.booted_ms <= moved_ms)
        };
        let goes = |id: &&BrokerId| {
            image.is_active(**id)
                && had_all(**id)
                && !behind.contains(id)
                && proposal.isr.iter().all(|(member, _)| member != *id)
        };
        let proposal = Proposal {
            tp,
            leader: n,
            content: &self.disks[n].content[tp],
            high_watermark,
            moved_ms,
            leaving: state.isr.iter().filter(goes).copied().collect(),
        };
        let check = self.checks.isr_kept(&proposal, self.plan.lag_time_max_ms, self.now_ms);
        self.check(check);
    }
}
