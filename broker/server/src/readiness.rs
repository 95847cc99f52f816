//! How far the start of this process is, and then whether the broker does everything it should:
//! registered, unfenced, and in the ISR of every partition that it has a replica of.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use base::{BrokerId, TopicId, TopicPartition};
use metadata::Image;
use quorum::Unreadable;

use crate::Broker;
use storage::partition::Recovery;

/// Partitions named in an answer; the rest is counted.
const NAMED_MAX: usize = 5;

/// The process from its first moment on: what there is to ask before there is a broker.
#[derive(Default)]
pub struct Startup {
    pub recovery: Recovery,
    broker: OnceLock<Arc<Broker>>,
    /// Why there will be no broker before an upgrade.
    unreadable: OnceLock<Unreadable>,
}

impl Startup {
    /// The logs are open and there is a broker, though it may have to wait for the others.
    pub fn finished(&self, broker: Arc<Broker>) {
        // There is one start per process.
        let _ = self.broker.set(broker);
    }

    /// The files of the metadata are those of a newer release.
    pub fn cannot_read(&self, unreadable: Unreadable) {
        let _ = self.unreadable.set(unreadable);
    }

    pub fn broker(&self) -> Option<&Arc<Broker>> {
        self.broker.get()
    }
}

impl fmt::Display for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unreadable) = self.unreadable.get() {
            return write!(f, "the broker waits: {unreadable}");
        }
        match (self.broker(), self.recovery.progress()) {
            (Some(_), _) => write!(f, "ok"),
            (None, Some((done, total))) => write!(f, "recovering {done} of {total}"),
            (None, None) => write!(f, "starting"),
        }
    }
}

/// What keeps a broker from being ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    Stopping,
    /// The metadata goes on in a way that this release cannot read.
    Upgrade(Arc<Unreadable>),
    Controller,
    Registration,
    Unfencing,
    InSync {
        partitions: usize,
        first: Vec<TopicPartition>,
    },
    /// These log directories failed: the path and why.
    LogDirs(Vec<(PathBuf, String)>),
    /// Logs that could not be opened at the start.
    Logs(Vec<TopicPartition>),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Stopping => write!(f, "the broker is stopping"),
            Missing::Upgrade(unreadable) => write!(f, "the broker waits: {unreadable}"),
            Missing::Controller => write!(f, "there is no active controller"),
            Missing::Registration => write!(f, "the broker is not registered yet"),
            Missing::Unfencing => write!(f, "the broker is fenced by the controller"),
            Missing::InSync { partitions, first } => {
                let names: Vec<String> = first.iter().map(ToString::to_string).collect();
                let more = if *partitions > first.len() { ", ..." } else { "" };
                write!(f, "{partitions} replicas are not in sync: {}{more}", names.join(", "))
            }
            Missing::LogDirs(dirs) => {
                let dirs: Vec<String> =
                    dirs.iter().map(|(dir, why)| format!("{} ({why})", dir.display())).collect();
                write!(f, "log directories are offline: {}", dirs.join(", "))
            }
            Missing::Logs(logs) => {
                let names: Vec<String> =
                    logs.iter().take(NAMED_MAX).map(ToString::to_string).collect();
                let more = if logs.len() > NAMED_MAX { ", ..." } else { "" };
                let names = names.join(", ");
                write!(f, "{} logs could not be opened: {names}{more}", logs.len())
            }
        }
    }
}

/// `Ok` when nothing is missing.
pub fn of(broker: &Broker) -> Result<(), Missing> {
    upgraded(broker)?;
    if broker.shutdown.has_started() {
        return Err(Missing::Stopping);
    }
    let image = broker.image();
    if broker.quorum.leadership().borrow().leader.is_none() {
        return Err(Missing::Controller);
    }
    let offline = broker.storage.partitions.dirs().offline();
    if !offline.is_empty() {
        let named = |(dir, why): (&Path, &str)| (dir.to_owned(), why.to_owned());
        return Err(Missing::LogDirs(offline.into_iter().map(named).collect()));
    }
    let logs = broker.storage.partitions.offline_replicas();
    if !logs.is_empty() {
        return Err(Missing::Logs(logs));
    }
    in_image(&image, broker.id, broker.storage.partitions.incarnation_id)
}

/// Not while the metadata cannot be read: then this broker's image is of the past.
pub fn upgraded(broker: &Broker) -> Result<(), Missing> {
    let unreadable = broker.quorum.unreadable().borrow().clone();
    unreadable.map_or(Ok(()), |unreadable| Err(Missing::Upgrade(unreadable)))
}

/// `incarnation` is this process: who else has the id, before or after it, is not the one asked.
fn in_image(image: &Image, id: BrokerId, incarnation: TopicId) -> Result<(), Missing> {
    let registered = image.broker(id).filter(|broker| broker.incarnation_id == incarnation);
    let registered = registered.ok_or(Missing::Registration)?;
    if registered.fenced {
        return Err(Missing::Unfencing);
    }
    let (mut partitions, mut first) = (0, Vec::new());
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            // A replica that a move is only bringing is not missed: were it counted, every broker
            // that is given replicas would leave the Services for as long.
            let owed = partition.is_replica(id) && !partition.adding.contains(&id);
            if owed && !partition.in_isr(id) {
                partitions += 1;
                if first.len() < NAMED_MAX {
                    first.push(TopicPartition::new(topic.name.clone(), index as i32));
                }
            }
        }
    }
    if partitions == 0 { Ok(()) } else { Err(Missing::InSync { partitions, first }) }
}

/// Sets the gauges that count partitions by state.
pub fn count_partitions(broker: &Broker) {
    let (image, metrics) = (broker.image(), &broker.metrics);
    let (mut hosted, mut led, mut under, mut offline) = (0, 0, 0, 0);
    for partition in image.topics().flat_map(|t| t.partitions.iter()) {
        hosted += i64::from(partition.is_replica(broker.id));
        offline += i64::from(partition.leader.is_none());
        if partition.leader == Some(broker.id) {
            led += 1;
            under += i64::from(partition.isr.len() < partition.replicas.len());
        }
    }
    metrics.partitions.set(hosted);
    metrics.leaders.set(led);
    metrics.under_replicated.set(under);
    metrics.offline.set(offline);
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let dirs = broker.storage.partitions.dirs();
    metrics.offline_log_dirs.set(count(dirs.offline().len()));
    metrics.full_log_dirs.set(count(dirs.full_count()));
    let is_active = broker.quorum.leadership().borrow().is_self;
    metrics.is_active_controller.set(i64::from(is_active));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metadata::{
        BrokerStateRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
        RegisterBrokerRecord, TopicRecord,
    };

    use super::*;

    fn incarnation(id: i32) -> TopicId {
        TopicId([id as u8; 16])
    }

    /// How ready the process is that `joined` registered.
    fn readiness(image: &Image, id: i32) -> Result<(), Missing> {
        in_image(image, BrokerId(id), incarnation(id))
    }

    fn joined(id: i32) -> [MetadataRecord; 2] {
        let (broker_id, broker_epoch) = (BrokerId(id), i64::from(id));
        let register = RegisterBrokerRecord {
            broker_id,
            incarnation_id: incarnation(id),
            broker_epoch,
            listeners: Vec::new(),
            rack: None,
            log_dirs: Vec::new(),
            log_dir_paths: Vec::new(),
            cordoned_log_dirs: "".into(),
            update: false,
        };
        let unfence = BrokerStateRecord { broker_id, broker_epoch };
        [MetadataRecord::RegisterBroker(register), MetadataRecord::UnfenceBroker(unfence)]
    }

    #[test]
    fn the_registration_of_another_process_with_the_id_makes_nobody_ready() {
        let mut image = Image::new("cluster");
        image.apply(0, &joined(1)).unwrap();
        assert_eq!(readiness(&image, 1), Ok(()));
        let other = TopicId([9; 16]);
        assert_eq!(in_image(&image, BrokerId(1), other), Err(Missing::Registration));
    }

    #[test]
    fn a_broker_is_ready_while_replicas_are_only_on_their_way_to_it() {
        let topic_id = TopicId([9; 16]);
        let replicas = vec![BrokerId(1), BrokerId(2)];
        let mut records: Vec<MetadataRecord> = (1..=3).flat_map(joined).collect();
        records.push(MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id }));
        records.push(MetadataRecord::Partition(PartitionRecord {
            topic_id,
            partition: 0,
            replicas: replicas.clone(),
            isr: replicas.clone(),
            leader: Some(BrokerId(1)),
        }));
        let mut image = Image::new("cluster");
        image.apply(0, &records).unwrap();
        let moving = PartitionChangeRecord {
            topic_id,
            partition_epoch: 1,
            replicas: Some(vec![BrokerId(1), BrokerId(3), BrokerId(2)]),
            adding: Some(vec![BrokerId(3)]),
            removing: Some(vec![BrokerId(2)]),
            ..PartitionChangeRecord::default()
        };
        image.apply(1, &[MetadataRecord::PartitionChange(moving)]).unwrap();
        assert_eq!(readiness(&image, 3), Ok(()));
        let left = PartitionChangeRecord {
            topic_id,
            partition_epoch: 2,
            isr: Some(vec![BrokerId(1)]),
            ..PartitionChangeRecord::default()
        };
        image.apply(2, &[MetadataRecord::PartitionChange(left)]).unwrap();
        assert_eq!(readiness(&image, 3), Ok(()));
        assert!(readiness(&image, 2).is_err(), "it has to keep its replica in sync");
    }
}
