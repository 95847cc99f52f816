//! A Kafka and an API server in memory, with faults to order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use base::{BrokerId, ErrorCode, TopicId, TopicPartition};
use crd::TopicStatus;
use plan::PartitionView;
use plan::moves::Move;
use plan::topics::TopicActual;

use super::super::Topics;
use super::super::admin::{BrokerLoad, TopicAdmin};
use super::Entry;
use crate::entity::Key;
use crate::entity::api::{Resources, Written};
use crate::kafka::{
    AdminError, BrokerInfo, ConfigChange, ConfigResource, Created, ItemResult, NewTopic, Refused,
    Result,
};
use crate::runtime::{Metrics, Severity};

#[derive(Default)]
pub struct Kafka {
    pub topics: BTreeMap<String, TopicActual>,
    pub brokers: BTreeMap<BrokerId, BrokerInfo>,
    pub cordoned: BTreeSet<BrokerId>,
    /// Next failures of whole requests, by method.
    pub faults: BTreeMap<&'static str, VecDeque<AdminError>>,
    /// What is said of a topic instead of doing it, by method; for ever.
    pub refusals: BTreeMap<(&'static str, String), Refused>,
    /// Methods called, with the number of topics.
    pub calls: Vec<(&'static str, usize)>,
    /// No request is answered.
    pub down: bool,
    pub moves: Vec<Move>,
    made: u32,
}

#[derive(Clone)]
pub struct FakeKafka(Arc<Mutex<Kafka>>);

impl FakeKafka {
    pub fn new(brokers: i32) -> FakeKafka {
        let brokers = (0..brokers).map(|id| (BrokerId(id), BrokerInfo::default())).collect();
        FakeKafka(Arc::new(Mutex::new(Kafka { brokers, ..Kafka::default() })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Kafka> {
        self.0.lock().unwrap()
    }

    pub fn fail(&self, method: &'static str, errors: impl IntoIterator<Item = AdminError>) {
        self.lock().faults.entry(method).or_default().extend(errors);
    }

    pub fn refuse(&self, method: &'static str, topic: &str, refused: Refused) {
        self.lock().refusals.insert((method, topic.to_owned()), refused);
    }

    pub fn calls(&self, method: &str) -> Vec<usize> {
        let kafka = self.lock();
        let calls = kafka.calls.iter().filter(|(called, _)| *called == method);
        calls.map(|(_, topics)| *topics).collect()
    }

    pub fn put(&self, name: &str, partitions: i32, factor: i32, config: BTreeMap<String, String>) {
        let mut kafka = self.lock();
        let id = kafka.next_id();
        kafka.topics.insert(
            name.to_owned(),
            TopicActual { id, partitions: views(name, 0..partitions, factor), config },
        );
    }

    pub fn has(&self, name: &str) -> bool {
        self.lock().topics.contains_key(name)
    }

    fn called(&self, method: &'static str, topics: usize) -> Result<()> {
        let mut kafka = self.lock();
        kafka.calls.push((method, topics));
        if kafka.down {
            return Err(AdminError::Unreachable("connect to c-bootstrap: refused".into()));
        }
        match kafka.faults.get_mut(method).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Kafka {
    fn next_id(&mut self) -> TopicId {
        self.made += 1;
        TopicId(u128::from(self.made).to_be_bytes())
    }

    fn check(&self, method: &'static str, topic: &str) -> ItemResult<()> {
        match self.refusals.get(&(method, topic.to_owned())) {
            Some(refused) => Err(refused.clone()),
            None => Ok(()),
        }
    }

    fn known(&mut self, topic: &str) -> ItemResult<&mut TopicActual> {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        self.topics.get_mut(topic).ok_or(Refused::new(unknown, unknown.message()))
    }
}

fn views(topic: &str, numbers: std::ops::Range<i32>, factor: i32) -> Vec<PartitionView> {
    let all: Vec<BrokerId> = (0..factor).map(BrokerId).collect();
    let view = |partition| PartitionView {
        topic: topic.to_owned(),
        partition,
        replicas: all.clone(),
        isr: all.clone(),
        adding: Vec::new(),
        removing: Vec::new(),
        leader: all.first().copied(),
        bytes: None,
    };
    numbers.map(view).collect()
}

impl TopicAdmin for FakeKafka {
    async fn aim(&self, _: &[String]) {}

    async fn brokers(&self) -> Result<BTreeMap<BrokerId, BrokerInfo>> {
        self.called("brokers", 0)?;
        Ok(self.lock().brokers.clone())
    }

    async fn describe(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, ItemResult<TopicActual>>> {
        self.called("describe", names.len())?;
        let kafka = self.lock();
        let described = names.iter().filter_map(|name| {
            let topic = kafka.topics.get(name)?.clone();
            Some((name.clone(), kafka.check("describe", name).map(|()| topic)))
        });
        Ok(described.collect())
    }

    async fn loads(&self) -> Result<BTreeMap<BrokerId, BrokerLoad>> {
        self.called("loads", 0)?;
        let kafka = self.lock();
        let load = |id: &BrokerId| {
            let on = |p: &&PartitionView| p.replicas.contains(id);
            let count = kafka.topics.values().flat_map(|t| &t.partitions).filter(on).count();
            BrokerLoad { replicas: count as u64, cordoned: Some(kafka.cordoned.contains(id)) }
        };
        Ok(kafka.brokers.keys().map(|id| (*id, load(id))).collect())
    }

    async fn create(&self, topics: &[NewTopic]) -> Result<BTreeMap<String, ItemResult<Created>>> {
        self.called("create", topics.len())?;
        let mut kafka = self.lock();
        let mut answers = BTreeMap::new();
        for topic in topics {
            let answer = kafka.check("create", &topic.name).and_then(|()| {
                if kafka.topics.contains_key(&topic.name) {
                    let code = ErrorCode::TopicAlreadyExists;
                    return Err(Refused::new(code, code.message()));
                }
                let id = kafka.next_id();
                let factor =
                    if topic.replication_factor < 0 { 3 } else { topic.replication_factor };
                let partitions = views(&topic.name, 0..topic.partitions, factor);
                let config = topic.config.clone();
                let actual = TopicActual { id, partitions, config };
                kafka.topics.insert(topic.name.clone(), actual);
                Ok(Created { id, partitions: topic.partitions, replication_factor: factor })
            });
            answers.insert(topic.name.clone(), answer);
        }
        Ok(answers)
    }

    async fn alter(&self, changes: &[ConfigChange]) -> Result<Vec<ItemResult<()>>> {
        self.called("alter", changes.len())?;
        let mut kafka = self.lock();
        let alter = |change: &ConfigChange| {
            let ConfigResource::Topic(name) = &change.resource else { return Ok(()) };
            kafka.check("alter", name)?;
            let config = &mut kafka.known(name)?.config;
            config.retain(|key, _| !change.delete.contains(key));
            config.extend(change.set.clone());
            Ok(())
        };
        Ok(changes.iter().map(alter).collect())
    }

    async fn widen(&self, counts: &[(String, i32)]) -> Result<BTreeMap<String, ItemResult<()>>> {
        self.called("widen", counts.len())?;
        let mut kafka = self.lock();
        let widen = |(name, count): &(String, i32)| {
            let answer = kafka.check("widen", name).and_then(|()| {
                let topic = kafka.known(name)?;
                let (there, factor) = (topic.partitions.len(), topic.partitions[0].replicas.len());
                topic.partitions.extend(views(name, there as i32..*count, factor as i32));
                Ok(())
            });
            (name.clone(), answer)
        };
        Ok(counts.iter().map(widen).collect())
    }

    async fn reassign(&self, moves: &[Move]) -> Result<BTreeMap<TopicPartition, ItemResult<()>>> {
        self.called("reassign", moves.len())?;
        let mut kafka = self.lock();
        kafka.moves.extend_from_slice(moves);
        let begin = |one: &Move| {
            let answer = kafka.check("reassign", &one.partition.topic).and_then(|()| {
                let topic = kafka.known(&one.partition.topic)?;
                let p = &mut topic.partitions[one.partition.partition as usize];
                let new = |id: &&BrokerId| !p.replicas.contains(id);
                p.adding = one.replicas.iter().filter(new).copied().collect();
                let old = |id: &&BrokerId| !one.replicas.contains(id);
                p.removing = p.replicas.iter().filter(old).copied().collect();
                p.replicas.extend(p.adding.clone());
                Ok(())
            });
            (one.partition.clone(), answer)
        };
        Ok(moves.iter().map(begin).collect())
    }

    async fn delete(&self, names: &[String]) -> Result<BTreeMap<String, ItemResult<()>>> {
        self.called("delete", names.len())?;
        let mut kafka = self.lock();
        let delete = |name: &String| {
            let answer = kafka.check("delete", name).and_then(|()| {
                kafka.known(name)?;
                kafka.topics.remove(name);
                Ok(())
            });
            (name.clone(), answer)
        };
        Ok(names.iter().map(delete).collect())
    }
}

impl FakeKafka {
    /// What is on the move arrives.
    pub fn settle(&self) {
        for p in self.lock().topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            p.replicas.retain(|id| !p.removing.contains(id));
            p.isr = p.replicas.clone();
            (p.adding, p.removing) = (Vec::new(), Vec::new());
        }
    }
}

#[derive(Default)]
pub struct Api {
    pub cluster_exists: bool,
    /// Topics that resources name which the watch has not told of; `None`: nobody can say.
    pub named: Option<BTreeSet<String>>,
    pub throttle: Arc<tokio::sync::Mutex<()>>,
    /// Resources whose status was written, in order.
    pub statuses: Vec<String>,
    /// Resources whose finalizers were written, with these.
    pub finalizers: Vec<(String, Vec<String>)>,
    /// Reasons of the Events.
    pub events: Vec<String>,
    /// Every write finds that somebody else wrote before.
    pub raced: bool,
}

#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<Api>>,
    metrics: Arc<Metrics>,
}

impl FakeApi {
    pub fn new() -> FakeApi {
        let named = Some(BTreeSet::new());
        let state = Api { cluster_exists: true, named, ..Api::default() };
        FakeApi { state: Arc::new(Mutex::new(state)), metrics: Arc::new(Metrics::new()) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Api> {
        self.state.lock().unwrap()
    }

    /// All writes so far.
    pub fn writes(&self) -> usize {
        let api = self.lock();
        api.statuses.len() + api.finalizers.len()
    }
}

impl Resources<Topics> for FakeApi {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    async fn cluster_exists(&self, _: &Key) -> crate::Result<bool> {
        Ok(self.lock().cluster_exists)
    }

    async fn named_by_others(
        &self,
        _: &Key,
        _: &BTreeSet<String>,
    ) -> crate::Result<BTreeSet<String>> {
        self.lock().named.clone().ok_or(crate::Error::Timeout("list Topics".into()))
    }

    async fn hold_throttle(&self, _: &Key) -> tokio::sync::OwnedMutexGuard<()> {
        let throttle = self.lock().throttle.clone();
        throttle.lock_owned().await
    }

    async fn write_status(&self, entry: &Entry, _: &TopicStatus) -> crate::Result<Written> {
        let mut api = self.lock();
        if api.raced {
            return Ok(Written::Raced);
        }
        api.statuses.push(entry.wish.name.clone());
        Ok(Written::Done)
    }

    async fn write_finalizers(&self, entry: &Entry, all: &[String]) -> crate::Result<Written> {
        let mut api = self.lock();
        if api.raced {
            return Ok(Written::Raced);
        }
        api.finalizers.push((entry.wish.name.clone(), all.to_vec()));
        Ok(Written::Done)
    }

    async fn event(&self, _: &Entry, _: Severity, reason: &str, _: &str) {
        self.lock().events.push(reason.to_owned());
    }
}
