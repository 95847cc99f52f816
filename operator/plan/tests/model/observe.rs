//! What the operator sees of the model. The risks come from the brokers' own functions, over an
//! image of the model's metadata.

use std::collections::BTreeMap;

use base::{BrokerId, TopicId, TopicPartition};
use metadata::{
    BrokerStateRecord, ConfigRecord, ConfigResource, Image, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord, TopicRecord, risk,
};
use plan::{
    BrokerRisk, BrokerSettings, BrokerView, ClaimView, ClusterView, Fleet, LevelView, Missing,
    MoveView, Need, Observed, ObserverView, PartitionView, PodPhase, PodView, QuorumView, RackRisk,
    SetView, VoterView,
};

use super::{Loss, Pod, World};

/// So many crashes are a loop.
const CRASHES: u32 = 3;

/// What a pass cannot observe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Blind {
    pub cluster: bool,
    pub quorum: bool,
    pub moves: bool,
    pub risk: bool,
    pub settings: bool,
    pub missing: bool,
}

/// A false report, which makes the planner one without the check in question: the judge has to
/// notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lie {
    #[default]
    None,
    /// Nothing is at risk, and nobody lacks anything.
    NoRisk,
    /// No voter would be missed.
    NoQuorum,
    /// Brokers that are to go host nothing.
    NoData,
    /// No claim is being deleted.
    NoClaims,
    /// What crashes now and then serves nothing in between.
    NoCrash,
    /// Every broker that is up is in sync for everything.
    NoLastCopy,
    /// The controller hears from no broker whose node is lost.
    NoFence,
    /// No broker has a rack.
    NoRacks,
    /// Nobody looks after the cluster.
    NoOwner,
}

impl World {
    pub fn observe(&self, needs: &[Need], blind: Blind, lie: Lie) -> Observed {
        let runs = |pod: &Pod| pod.phase == PodPhase::Running;
        let up = self.pods.values().any(runs) && !blind.cluster;
        let up = up && (self.controller.is_some() || !self.strict);
        let mut seen = Observed {
            now_ms: self.now,
            desired: self.spec.clone(),
            fleet: self.fleet(),
            pods: self.pods.iter().map(|(id, pod)| (*id, self.pod_view(*id, pod, lie))).collect(),
            missing_since: self.missing.clone(),
            claims: self
                .claims
                .iter()
                .map(|(id, resize)| (*id, self.claim(*id, *resize, lie)))
                .collect(),
            cluster: up.then(|| self.cluster_view(blind, lie)),
            unreachable: (!up).then(|| "connection refused".to_owned()),
            rebalancing: self.rebalancing,
            last_voters: self.last_voters.clone(),
            changing_voter: self.changing_voter,
            ..Observed::default()
        };
        if up && needs.contains(&Need::Partitions) {
            seen.learn(self.partition_views(lie));
        }
        if up && needs.contains(&Need::ThrottledTopics) {
            seen.throttled_topics = Some(self.throttled_topics.iter().cloned().collect());
        }
        seen
    }

    fn fleet(&self) -> Fleet {
        let set = self.set.as_ref().map(|set| SetView {
            replicas: set.replicas,
            revision: Some(format!("{}-{}", set.template.revision, set.template.by)),
        });
        Fleet::of_one(self.replicas, set)
    }

    fn pod_view(&self, id: BrokerId, pod: &Pod, lie: Lie) -> PodView {
        let loss = self.lost.get(&id).copied();
        let newest = self.set.as_ref().map(|set| (set.template.revision, set.template.by));
        let crashing = pod.phase == PodPhase::Running && pod.crashes >= CRASHES && !pod.ready;
        PodView {
            uid: pod.uid.to_string(),
            outdated: Some((pod.template.revision, pod.template.by)) != newest,
            phase: if crashing && lie == Lie::NoCrash { PodPhase::CrashLoop } else { pod.phase },
            ready: pod.ready
                && pod.phase == PodPhase::Running
                && !matches!(loss, Some(Loss::Mute(_))),
            since_ms: match loss {
                Some(Loss::Mute(since)) => since.max(pod.since),
                _ => pod.since,
            },
            created_ms: pod.created,
            restart_marked: pod.marked,
            replace: None,
            node: None,
            node_lost: loss.is_some_and(|loss| loss != Loss::Gone),
            node_since_ms: self.back.get(&id).map_or(pod.created, |back| pod.created.max(*back)),
            crashing,
            problem: None,
        }
    }

    fn claim(&self, id: BrokerId, resize_since_ms: Option<i64>, lie: Lie) -> ClaimView {
        let deleting = self.going.contains(&id) && lie != Lie::NoClaims;
        let stranded = matches!(self.lost.get(&id), Some(Loss::Gone | Loss::Silent));
        ClaimView { resize_since_ms, deleting, lost: false, stranded }
    }

    fn cluster_view(&self, blind: Blind, lie: Lie) -> ClusterView {
        let risks = risk::restart_risk(&self.image(), &BTreeMap::new());
        let mut brokers = BTreeMap::new();
        for (found, (&id, &fenced)) in risks.brokers.iter().zip(&self.brokers) {
            assert_eq!(found.id, id);
            let quiet = lie == Lie::NoRisk;
            let hosted = if self.hides(lie, id) { 0 } else { found.hosted };
            let broker_risk = BrokerRisk {
                at_risk: if quiet { 0 } else { found.risk.at_risk as u64 },
                examples: found.risk.examples.clone(),
                unavoidable: found.risk.unavoidable as u64,
                unavoidable_examples: found.risk.unavoidable_examples.clone(),
                hosted: hosted as u64,
                leading: found.leading as u64,
            };
            let caught_up = risk::caught_up(&self.image(), id);
            let count = if quiet { 0 } else { caught_up.missing as u64 };
            let settings = BrokerSettings {
                cordoned: self.cordoned.contains(&id),
                throttled: self.throttled.contains(&id),
            };
            let view = BrokerView {
                fenced: fenced || lie == Lie::NoFence && self.lost.contains_key(&id),
                rack: self.rack(id).filter(|_| lie != Lie::NoRacks),
                risk: (!blind.risk).then_some(broker_risk),
                missing: (!blind.missing)
                    .then_some(Missing { count, examples: caught_up.examples }),
                settings: (!blind.settings).then_some(settings),
                bytes: None,
            };
            brokers.insert(id, view);
        }
        let racks = risks.racks.iter().map(|rack| {
            let at_risk = if lie == Lie::NoRisk { 0 } else { rack.risk.at_risk as u64 };
            let (examples, unavoidable) =
                (rack.risk.examples.clone(), rack.risk.unavoidable as u64);
            (rack.rack.to_string(), RackRisk { at_risk, examples, unavoidable })
        });
        ClusterView {
            brokers,
            racks: racks.collect(),
            quorum: (!blind.quorum).then(|| self.quorum_view(lie)),
            moves: (!blind.moves).then(|| self.moves(lie)),
            level: self.level_view(),
        }
    }

    /// As the newest broker tells it, which is the hardest for the planner.
    fn level_view(&self) -> Option<LevelView> {
        let up = self.pods.values().filter(|pod| pod.is_up());
        let supported = up.map(|pod| pod.template.readable()).max()?;
        self.level.map(|finalized| LevelView { finalized, supported })
    }

    fn hides(&self, lie: Lie, id: BrokerId) -> bool {
        lie == Lie::NoData && id.0 >= self.replicas
    }

    fn quorum_view(&self, lie: Lie) -> QuorumView {
        // Nobody can tell who follows where nobody leads.
        let known = self.controller.is_some() && lie != Lie::NoQuorum;
        let caught_up = |id: &BrokerId| self.is_up(*id) && known;
        let voter = |id: &BrokerId| VoterView { caught_up: caught_up(id) };
        let running = self.pods.iter().filter(|(id, pod)| pod.is_up() && !self.voters.contains(id));
        let observers = running.map(|(id, pod)| (*id, ObserverView { caught_up: pod.age >= 2 }));
        QuorumView {
            leader: self.controller,
            voters: self.voters.iter().map(|id| (*id, voter(id))).collect(),
            observers: observers.collect(),
        }
    }

    pub fn moves(&self, lie: Lie) -> Vec<MoveView> {
        let moving = self.partitions().filter(|(_, _, _, p)| {
            let hidden = p.replicas.iter().any(|id| self.hides(lie, *id));
            !hidden && (!p.adding.is_empty() || !p.removing.is_empty())
        });
        let view = |(topic, at, p): (&str, usize, &super::Partition)| MoveView {
            partition: TopicPartition::new(topic, at as i32),
            replicas: p.replicas.clone(),
            adding: p.adding.clone(),
            removing: p.removing.clone(),
            isr: if self.vague { Vec::new() } else { p.isr.clone() },
        };
        moving.map(|(topic, at, _, p)| view((topic, at, p))).collect()
    }

    fn partition_views(&self, lie: Lie) -> Vec<PartitionView> {
        let views = self.partitions().map(|(topic, at, _, p)| PartitionView {
            topic: topic.to_owned(),
            partition: at as i32,
            replicas: p.replicas.iter().copied().filter(|id| !self.hides(lie, *id)).collect(),
            isr: match lie {
                Lie::NoLastCopy => self.brokers.keys().copied().collect(),
                _ => p.isr.clone(),
            },
            adding: p.adding.clone(),
            removing: p.removing.clone(),
            leader: p.leader,
            bytes: None,
        });
        views.collect()
    }

    /// The model's metadata as the brokers know it.
    pub fn image(&self) -> Image {
        let mut records = Vec::new();
        for (&broker_id, &fenced) in &self.brokers {
            let broker_epoch = i64::from(broker_id.0) + 1;
            records.push(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id,
                incarnation_id: TopicId([broker_id.0 as u8 + 1; 16]),
                broker_epoch,
                listeners: Vec::new(),
                rack: self.rack(broker_id).map(Into::into),
                log_dirs: Vec::new(),
                log_dir_paths: Vec::new(),
                cordoned_log_dirs: "".into(),
                update: false,
            }));
            if !fenced {
                let state = BrokerStateRecord { broker_id, broker_epoch };
                records.push(MetadataRecord::UnfenceBroker(state));
            }
        }
        for (number, (name, topic)) in self.topics.iter().enumerate() {
            let topic_id = TopicId([number as u8 + 1; 16]);
            let name = name.as_str();
            records.push(MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id }));
            records.push(MetadataRecord::Config(ConfigRecord {
                resource: ConfigResource::Topic(name.into()),
                name: "min.insync.replicas".into(),
                value: Some(topic.min_isr.to_string().into()),
            }));
            for (at, p) in topic.partitions.iter().enumerate() {
                records.extend(partition_records(topic_id, at as i32, p));
            }
        }
        let mut image = Image::new("model");
        image.apply(0, &records).expect("the model's metadata is sound");
        image
    }
}

fn partition_records(
    topic_id: TopicId,
    partition: i32,
    p: &super::Partition,
) -> [MetadataRecord; 2] {
    let record = PartitionRecord {
        topic_id,
        partition,
        replicas: p.replicas.clone(),
        isr: p.isr.clone(),
        leader: p.leader,
    };
    let moving = PartitionChangeRecord {
        topic_id,
        partition,
        partition_epoch: 1,
        adding: Some(p.adding.clone()),
        removing: Some(p.removing.clone()),
        ..PartitionChangeRecord::default()
    };
    [MetadataRecord::Partition(record), MetadataRecord::PartitionChange(moving)]
}
