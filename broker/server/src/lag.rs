//! Consumer lag of the groups that this broker coordinates: records between what a group committed
//! and the high watermark. Partitions that are not hosted here are asked for at their leaders. The
//! names of groups are anybody's: so many series are kept, and of the others their number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, Offset};
use coordinator::CommittedPosition;
use futures::future::join_all;
use prometheus::IntGaugeVec;
use wire::Str;
use wire::messages::ListOffsetsRequest;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use crate::Broker;

/// Timestamp that asks ListOffsets for the high watermark.
const LATEST: i64 = -1;
/// Version of ListOffsets that brokers of all releases speak.
const VERSION: i16 = 7;
const TIMEOUT: Duration = Duration::from_secs(1);

type Key = (Arc<str>, i32);

/// Group, topic and partition, as the gauges are labelled.
type Series = [String; 3];

/// The series that there are.
#[derive(Debug, Default)]
pub struct Lags {
    known: HashSet<Series>,
}

impl Lags {
    /// Sets the lag gauges anew; groups and partitions that are gone disappear.
    pub async fn update(&mut self, broker: &Arc<Broker>) {
        let (lags, omitted) = look(broker).await;
        self.replace(&broker.metrics.group_lag, lags);
        broker.metrics.group_lag_omitted.set(i64::try_from(omitted).unwrap_or(i64::MAX));
    }

    /// A series that stays is never away: a scrape may come at any time.
    fn replace(&mut self, gauges: &IntGaugeVec, lags: HashMap<Series, i64>) {
        for (series, lag) in &lags {
            gauges.with_label_values(series).set(*lag);
        }
        for gone in self.known.iter().filter(|series| !lags.contains_key(*series)) {
            // Only this task removes any: it is there.
            let _ = gauges.remove_label_values(gone);
        }
        self.known = lags.into_keys().collect();
    }
}

/// The lags that get a series, and how many positions get none.
async fn look(broker: &Arc<Broker>) -> (HashMap<Series, i64>, usize) {
    let (positions, omitted) = broker.groups.positions(broker.config.lag_series_max).await;
    let watermarks = high_watermarks(broker, &positions).await;
    let mut lags = HashMap::new();
    for position in &positions {
        let key = (position.topic.clone(), position.partition);
        if let Some(high_watermark) = watermarks.get(&key) {
            let lag = (high_watermark - position.offset).max(0);
            let partition = position.partition.to_string();
            lags.insert([position.group.to_string(), position.topic.to_string(), partition], lag);
        }
    }
    (lags, omitted)
}

async fn high_watermarks(
    broker: &Arc<Broker>,
    positions: &[CommittedPosition],
) -> BTreeMap<Key, Offset> {
    let keys: HashSet<Key> = positions.iter().map(|p| (p.topic.clone(), p.partition)).collect();
    let (mut known, mut remote) = (BTreeMap::new(), BTreeMap::<BrokerId, Vec<Key>>::new());
    let image = broker.image();
    for key in keys {
        if let Some(partition) = broker.storage.partitions.get(&key.0, key.1) {
            known.insert(key, partition.offsets().high_watermark);
        } else if let Some(leader) = image.partition(&key.0, key.1).and_then(|p| p.leader) {
            remote.entry(leader).or_default().push(key);
        }
    }
    let asked = remote.into_iter().map(|(leader, keys)| ask(broker, leader, keys));
    for answer in join_all(asked).await {
        match answer {
            Ok(watermarks) => known.extend(watermarks),
            Err(error) => tracing::debug!(%error, "ask a leader for high watermarks"),
        }
    }
    known
}

async fn ask(
    broker: &Broker,
    leader: BrokerId,
    keys: Vec<Key>,
) -> anyhow::Result<Vec<(Key, Offset)>> {
    let topics = keys.into_iter().map(|(topic, partition_index)| ListOffsetsTopic {
        name: Str::from(topic),
        partitions: vec![ListOffsetsPartition {
            partition_index,
            timestamp: LATEST,
            ..Default::default()
        }],
    });
    let request =
        ListOffsetsRequest { replica_id: -1, topics: topics.collect(), ..Default::default() };
    let response = broker.peers.ask(leader, &request, VERSION, TIMEOUT).await?;
    let found = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name.to_arc();
        let answered = topic.partitions.into_iter().filter(|p| p.error_code == 0);
        answered.map(move |p| ((name.clone(), p.partition_index), p.offset)).collect::<Vec<_>>()
    });
    Ok(found.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prometheus::Opts;
    use prometheus::core::Collector;

    use super::*;

    #[test]
    fn series_that_stay_are_changed_and_not_made_anew() {
        let gauges =
            IntGaugeVec::new(Opts::new("lag", "Lag"), &["group", "topic", "partition"]).unwrap();
        let mut kept = Lags::default();
        let series = |topic: &str| ["g".to_owned(), topic.to_owned(), "0".to_owned()];
        kept.replace(&gauges, HashMap::from([(series("stays"), 1), (series("goes"), 2)]));
        let stays = gauges.with_label_values(&series("stays"));
        kept.replace(&gauges, HashMap::from([(series("stays"), 5), (series("new"), 3)]));
        assert_eq!(stays.get(), 5, "a scrape found it all the time");
        let families = gauges.collect();
        let topic = |label: &prometheus::proto::LabelPair| {
            (label.name() == "topic").then(|| label.value().to_owned())
        };
        let labels = families[0].get_metric().iter().flat_map(|metric| metric.get_label());
        let mut topics: Vec<String> = labels.filter_map(topic).collect();
        topics.sort();
        assert_eq!(topics, ["new", "stays"]);
    }
}
