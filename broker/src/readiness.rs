//! Whether this broker does everything it should: registered, unfenced, and in the ISR of every
//! partition that it has a replica of.

use std::fmt;

use base::{BrokerId, TopicPartition};
use metadata::Image;

use crate::Broker;

/// Partitions named in an answer; the rest is counted.
const NAMED_MAX: usize = 5;

/// What keeps a broker from being ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    Stopping,
    Controller,
    Registration,
    Unfencing,
    InSync { partitions: usize, first: Vec<TopicPartition> },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Stopping => write!(f, "the broker is stopping"),
            Missing::Controller => write!(f, "there is no active controller"),
            Missing::Registration => write!(f, "the broker is not registered yet"),
            Missing::Unfencing => write!(f, "the broker is fenced by the controller"),
            Missing::InSync { partitions, first } => {
                let names: Vec<String> = first.iter().map(ToString::to_string).collect();
                let more = if *partitions > first.len() { ", ..." } else { "" };
                write!(f, "{partitions} replicas are not in sync: {}{more}", names.join(", "))
            }
        }
    }
}

/// `Ok` when nothing is missing.
pub fn of(broker: &Broker) -> Result<(), Missing> {
    if broker.shutdown.has_started() {
        return Err(Missing::Stopping);
    }
    let image = broker.image();
    if broker.quorum.leadership().borrow().leader.is_none() {
        return Err(Missing::Controller);
    }
    in_image(&image, broker.id)
}

fn in_image(image: &Image, id: BrokerId) -> Result<(), Missing> {
    let registered = image.broker(id).ok_or(Missing::Registration)?;
    if registered.fenced {
        return Err(Missing::Unfencing);
    }
    let (mut partitions, mut first) = (0, Vec::new());
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            if partition.is_replica(id) && !partition.in_isr(id) {
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
    let is_active = broker.quorum.leadership().borrow().is_self;
    metrics.is_active_controller.set(i64::from(is_active));
}
