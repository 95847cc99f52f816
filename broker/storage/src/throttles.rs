//! Replication throttles (KIP-73): how fast this broker, as leader and as follower, replicates the
//! replicas that topic configs name (`partition:broker`, or `*`). Only replicas outside the ISR are
//! held back, and only their bytes count.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base::{BrokerId, TopicPartition};
use metadata::{ConfigMap, ConfigResource, Image};
use parking_lot::Mutex;

use crate::Storage;
use crate::throttle::Throttle;
use process::clock;

/// Longest pause before a throttled replica looks again: the rate may have changed.
const PAUSE_MS_MAX: i64 = 1_000;
/// Shortest pause: what has come together by then is worth a request.
const PAUSE_MS_MIN: i64 = 20;

/// One direction of replication.
#[derive(Debug)]
pub struct Side {
    rate_key: &'static str,
    replicas_key: &'static str,
    throttle: Mutex<Throttle>,
    throttled: ArcSwap<HashMap<Arc<str>, Scope>>,
}

/// Partitions of a topic whose replica on this broker is throttled.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Scope {
    All,
    Some(BTreeSet<i32>),
}

/// Both directions.
#[derive(Debug)]
pub struct Throttles {
    /// What this broker sends as a leader.
    pub leader: Side,
    /// What this broker fetches as a follower.
    pub follower: Side,
}

impl Default for Throttles {
    fn default() -> Throttles {
        let side = |rate_key, replicas_key| Side {
            rate_key,
            replicas_key,
            throttle: Mutex::default(),
            throttled: ArcSwap::default(),
        };
        Throttles {
            leader: side(
                "leader.replication.throttled.rate",
                "leader.replication.throttled.replicas",
            ),
            follower: side(
                "follower.replication.throttled.rate",
                "follower.replication.throttled.replicas",
            ),
        }
    }
}

impl Side {
    /// Whether the replica here is among the throttled ones. Costs next to nothing when none is.
    pub fn names(&self, id: &TopicPartition) -> bool {
        let throttled = self.throttled.load();
        if throttled.is_empty() {
            return false;
        }
        match throttled.get(&*id.topic) {
            Some(Scope::All) => true,
            Some(Scope::Some(partitions)) => partitions.contains(&id.partition),
            None => false,
        }
    }

    /// Bytes that may go through now.
    pub fn room(&self) -> usize {
        self.throttle.lock().room(clock::monotonic_ms())
    }

    pub fn spend(&self, bytes: usize) {
        self.throttle.lock().spend(bytes, clock::monotonic_ms());
    }

    /// How long to hold back before the next look; `None`: something may go through now.
    pub fn pause_ms(&self) -> Option<i64> {
        let wait_ms = self.throttle.lock().wait_ms(clock::monotonic_ms())?;
        Some(wait_ms.clamp(PAUSE_MS_MIN, PAUSE_MS_MAX))
    }

    fn set(&self, image: &Image, broker: BrokerId, fixed: Option<&str>) {
        let dynamic = [ConfigResource::Broker(broker), ConfigResource::BrokerDefault];
        let dynamic = dynamic.iter().find_map(|r| image.config(r)?.get(self.rate_key));
        let rate = dynamic.map(|value| &**value).or(fixed).and_then(|value| value.parse().ok());
        self.throttle.lock().set_rate(rate, clock::monotonic_ms());
        let topics = image.configs().filter_map(|(resource, configs)| match resource {
            ConfigResource::Topic(topic) => {
                Some((topic.clone(), scope(configs, self.replicas_key, broker)?))
            }
            _ => None,
        });
        self.throttled.store(Arc::new(topics.collect()));
    }
}

impl Throttles {
    /// Takes rates and replicas over from the metadata.
    fn set(&self, storage: &Storage, image: &Image) {
        for side in [&self.leader, &self.follower] {
            side.set(image, storage.id, storage.config.value(side.rate_key));
        }
    }

    /// Follows the metadata until connections close.
    pub async fn follow(storage: Arc<Storage>) {
        let mut applied = storage.partitions.applied();
        let mut known = storage.image();
        storage.throttles.set(&storage, &known);
        let changes = async {
            while applied.changed().await.is_ok() {
                let image = storage.image();
                if !metadata::changes_between(&known, &image).configs.is_empty() {
                    storage.throttles.set(&storage, &image);
                }
                known = image;
            }
        };
        tokio::select! {
            biased;
            () = changes => {}
            () = storage.shutdown.connections_closing() => {}
        }
    }
}

/// The partitions that a topic's list names for this broker. The list was checked when it was set;
/// what cannot be read names nothing.
fn scope(configs: &ConfigMap, key: &str, broker: BrokerId) -> Option<Scope> {
    let list = configs.get(key)?;
    if list.trim() == "*" {
        return Some(Scope::All);
    }
    let pairs = list.split(',').filter_map(|pair| pair.trim().split_once(':'));
    let own = pairs.filter(|(_, replica)| replica.parse() == Ok(broker.0));
    let partitions: BTreeSet<i32> = own.filter_map(|(number, _)| number.parse().ok()).collect();
    (!partitions.is_empty()).then_some(Scope::Some(partitions))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metadata::{ConfigRecord, MetadataRecord};

    use super::*;

    fn image(configs: &[(ConfigResource, &str, &str)]) -> Image {
        let mut image = Image::new("c");
        let records: Vec<MetadataRecord> = configs
            .iter()
            .map(|(resource, key, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource: resource.clone(),
                    name: (*key).into(),
                    value: Some((*value).into()),
                })
            })
            .collect();
        image.apply(1, &records).unwrap();
        image
    }

    #[test]
    fn lists_name_replicas_of_this_broker() {
        let throttles = Throttles::default();
        let side = &throttles.leader;
        let list = "leader.replication.throttled.replicas";
        let topic = |name: &str| ConfigResource::Topic(name.into());
        let image = image(&[(topic("some"), list, "0:1, 2:1,1:2"), (topic("all"), list, "*")]);
        side.set(&image, BrokerId(1), None);
        let names = |topic: &str, number| {
            side.names(&TopicPartition { topic: topic.into(), partition: number })
        };
        assert!(names("some", 0) && names("some", 2) && !names("some", 1));
        assert!(names("all", 7) && !names("other", 0));
        assert_eq!(side.pause_ms(), None, "no rate is set");
    }

    #[test]
    fn the_rate_of_this_broker_comes_before_those_for_all() {
        let throttles = Throttles::default();
        let side = &throttles.follower;
        let rate = "follower.replication.throttled.rate";
        let all = (ConfigResource::BrokerDefault, rate, "1000");
        let own = (ConfigResource::Broker(BrokerId(1)), rate, "0");
        side.set(&image(&[all.clone(), own]), BrokerId(1), Some("7"));
        assert_eq!(side.pause_ms(), Some(PAUSE_MS_MAX));
        side.set(&image(&[]), BrokerId(1), None);
        assert_eq!(side.room(), usize::MAX);
        side.set(&image(&[all]), BrokerId(1), Some("7"));
        side.spend(1_000);
        assert!(side.pause_ms().is_some());
    }
}
