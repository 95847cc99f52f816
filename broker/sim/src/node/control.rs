//! A broker's dealings with the controller: registration, heartbeats, ISR proposals; and what it
//! makes of each new image.

use base::{BrokerId, ErrorCode};
use metadata::{
    AlterIsrPartition, AlterIsrRequest, ControllerRequest, ControllerResponse, Endpoint,
    HeartbeatRequest, Image, IsrMember, RegisterBrokerRequest,
};
use replica::{Assignment, Event, IsrAnswer, IsrProposal};

use crate::message::{Addr, Body, Tp};
use crate::world::{Action, World, node_id};

use super::{Registration, Timer};

/// A request to the controller that has no answer yet.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Register,
    Heartbeat,
    AlterIsr { tp: Tp, partition_epoch: i32 },
    CreateTopics,
    Reassign,
}

const HEARTBEAT_MS: i64 = 150;
const CALL_TIMEOUT_MS: i64 = 250;
const RETRY_MS: i64 = 50;

impl World {
    pub(crate) fn call(&mut self, n: usize, call: Call, request: ControllerRequest) {
        let id = self.fresh_id();
        self.nodes[n].calls.insert(id, call);
        self.after(CALL_TIMEOUT_MS, n, Timer::CallTimeout { id });
        if let Some(controller) = self.nodes[n].believed {
            let session = self.nodes[n].session;
            let body = Body::Control { id, session, request };
            self.send(Addr::Node(n), Addr::Node(controller), body);
        }
    }

    /// The connection to the controller broke while a request was on it: both sides notice.
    pub(crate) fn connection_lost(&mut self, from: Addr, to: Addr, session: u64) {
        let (Addr::Node(from), Addr::Node(to)) = (from, to) else { return };
        self.nodes[from].session = self.next_session();
        let delay = self.delay();
        self.schedule(delay, Action::SessionClosed { node: to, session, ended: false });
    }

    pub(crate) fn next_session(&mut self) -> u64 {
        self.fresh_id()
    }

    pub(crate) fn heartbeat(&mut self, n: usize) {
        let node = &self.nodes[n];
        let broker_id = node.id;
        let outstanding =
            node.calls.values().any(|c| matches!(c, Call::Register | Call::Heartbeat));
        if !outstanding {
            match node.registration {
                Registration::Missing => {
                    let request = RegisterBrokerRequest {
                        broker_id,
                        cluster_id: "sim".into(),
                        incarnation_id: node.incarnation_id(),
                        listeners: vec![Endpoint {
                            name: "PLAINTEXT".into(),
                            host: "sim".into(),
                            port: 9092,
                            security_protocol: "PLAINTEXT".into(),
                        }],
                        rack: None,
                        log_dirs: Vec::new(),
                        log_dir_paths: Vec::new(),
                        cordoned_log_dirs: "".into(),
                        clean_shutdown_epoch: node.clean_epoch,
                        supports: metadata::LEVEL_MAX,
                    };
                    self.call(n, Call::Register, ControllerRequest::RegisterBroker(request));
                }
                Registration::Epoch(broker_epoch) => {
                    let published = node.published.as_ref().map_or(-1, Image::offset);
                    let request = HeartbeatRequest {
                        broker_id,
                        broker_epoch,
                        image_offset: published,
                        want_fence: false,
                        want_shutdown: node.stopping,
                        offline: Vec::new(),
                        supports: metadata::LEVEL_MAX,
                    };
                    self.call(n, Call::Heartbeat, ControllerRequest::Heartbeat(request));
                }
            }
        }
        let registered = self.nodes[n].registration != Registration::Missing;
        self.after(if registered { HEARTBEAT_MS } else { RETRY_MS }, n, Timer::Heartbeat);
    }

    pub(crate) fn propose_isr(&mut self, n: usize, tp: Tp, proposal: IsrProposal) {
        let name = self.tps[tp].clone();
        let node = &self.nodes[n];
        let topic = node.published.as_ref().and_then(|image| image.topic(&name.topic));
        let Some(topic_id) = topic.map(|topic| topic.id) else { return };
        let member =
            |&(broker_id, broker_epoch): &(BrokerId, i64)| IsrMember { broker_id, broker_epoch };
        let request = AlterIsrRequest {
            broker_id: node.id,
            broker_epoch: node.broker_epoch(),
            partitions: vec![AlterIsrPartition {
                topic_id,
                partition: name.partition,
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: proposal.isr.iter().map(member).collect(),
                leader_recovery_state: metadata::LeaderRecoveryState::Recovered,
            }],
        };
        let call = Call::AlterIsr { tp, partition_epoch: proposal.partition_epoch };
        self.call(n, call, ControllerRequest::AlterIsr(request));
    }

    /// No answer in time, or none that says anything.
    pub(crate) fn call_failed(&mut self, n: usize, id: u64) {
        match self.nodes[n].calls.remove(&id) {
            Some(Call::AlterIsr { tp, partition_epoch }) => {
                self.after(RETRY_MS, n, Timer::IsrUnknown { tp, partition_epoch });
            }
            Some(Call::CreateTopics) => self.create_topics(n),
            Some(Call::Register | Call::Heartbeat | Call::Reassign) | None => {}
        }
    }

    pub(crate) fn control_answered(
        &mut self,
        n: usize,
        id: u64,
        response: Option<ControllerResponse>,
    ) {
        let Some(call) = self.nodes[n].calls.get(&id).cloned() else { return };
        let Some(response) = response else {
            return self.call_failed(n, id);
        };
        self.trace(|_| format!("  {n} {response:?}"));
        match (call, response) {
            (Call::Register, ControllerResponse::RegisterBroker(registered)) => {
                self.nodes[n].registration = Registration::Epoch(registered.broker_epoch);
                self.publish(n);
            }
            (Call::Heartbeat, ControllerResponse::Heartbeat(response)) => {
                if response.should_shut_down && self.nodes[n].stopping {
                    return self.stop_cleanly(n);
                }
            }
            (Call::Heartbeat, ControllerResponse::Error(error)) => {
                if error.code == ErrorCode::StaleBrokerEpoch
                    || error.code == ErrorCode::BrokerIdNotRegistered
                {
                    self.nodes[n].registration = Registration::Missing;
                }
            }
            (Call::AlterIsr { tp, partition_epoch }, ControllerResponse::AlterIsr(response)) => {
                let result = response.partitions.into_iter().next().map(|p| p.result);
                let answer = match result {
                    Some(Ok(state)) => IsrAnswer::Accepted {
                        leader_epoch: state.leader_epoch,
                        partition_epoch: state.partition_epoch,
                    },
                    Some(Err(error)) => IsrAnswer::Rejected { partition_epoch, error },
                    None => IsrAnswer::Unknown { partition_epoch },
                };
                self.drive(n, tp, Event::IsrAnswer(answer));
            }
            (Call::CreateTopics, ControllerResponse::CreateTopics(results)) => {
                let failed = results.iter().any(|r| match &r.result {
                    Ok(_) => false,
                    Err(error) => error.code != ErrorCode::TopicAlreadyExists,
                });
                if failed {
                    self.nodes[n].calls.remove(&id);
                    return self.after(RETRY_MS, n, Timer::CreateTopics);
                }
            }
            // Whatever became of it: moves are looked at by what they do.
            (Call::Reassign, _) => {}
            _ => return self.call_failed(n, id),
        }
        self.nodes[n].calls.remove(&id);
    }

    /// Applies the newest image that arrived; none that is older than the own registration, as
    /// such a one may name this broker the leader of what its new process has lost.
    pub(crate) fn publish(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let image = self.quorum.images[node.image_at].clone();
        let registered = image.broker(node.id).map(|broker| broker.epoch);
        if registered.is_none() || registered != Some(node.broker_epoch()) {
            return;
        }
        if node.published.as_ref().is_some_and(|old| old.offset() >= image.offset()) {
            return;
        }
        let old = node.published.replace(image.clone());
        for tp in 0..self.tps.len() {
            // The process may die of its disk on the way.
            if self.nodes[n].up {
                self.apply_partition(n, tp, &image);
            }
        }
        for broker in 0..self.nodes.len() {
            self.apply_broker(n, broker, old.as_ref(), &image);
        }
    }

    fn apply_partition(&mut self, n: usize, tp: Tp, image: &Image) {
        let name = self.tps[tp].clone();
        let Some(partition) = image.partition(&name.topic, name.partition) else { return };
        if !partition.replicas.contains(&self.nodes[n].id) {
            return self.remove_replica(n, tp);
        }
        if !self.nodes[n].replicas.contains_key(&tp) && !self.open_replica(n, tp) {
            return;
        }
        let incarnation = self.nodes[n].incarnation;
        let knows = self.checks.epochs.knows(tp, partition.leader_epoch, (n, incarnation));
        self.check(knows);
        let assignment = Assignment {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
        };
        self.drive(n, tp, Event::Assign(assignment));
    }

    fn apply_broker(&mut self, n: usize, broker: usize, old: Option<&Image>, new: &Image) {
        let id = node_id(broker);
        let state = |image: &Image| image.broker(id).map(|b| (b.epoch, b.is_active()));
        let now = state(new);
        if broker == n || old.and_then(state) == now {
            return;
        }
        let eligible = now.is_some_and(|(_, active)| active);
        let tps: Vec<Tp> = self.nodes[n].replicas.keys().copied().collect();
        for tp in tps {
            self.drive(n, tp, Event::Eligibility { broker: id, eligible });
        }
    }
}
