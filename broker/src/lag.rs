//! Consumer lag of the groups that this broker coordinates: records between what a group committed
//! and the high watermark. Partitions that are not hosted here are asked for at their leaders.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, Offset};
use client::{ClientError, Connection, Options};
use coordinator::CommittedPosition;
use futures::future::join_all;
use metadata::Image;
use wire::Str;
use wire::messages::ListOffsetsRequest;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use crate::Broker;

/// Timestamp that asks ListOffsets for the high watermark.
const LATEST: i64 = -1;
const TIMEOUT: Duration = Duration::from_secs(1);

type Key = (Arc<str>, i32);

/// Sets the lag gauges anew; groups and partitions that are gone disappear.
pub async fn update(broker: &Arc<Broker>) {
    let positions = broker.groups.positions().await;
    let watermarks = high_watermarks(broker, &positions).await;
    let gauges = &broker.metrics.group_lag;
    gauges.reset();
    for position in &positions {
        let key = (position.topic.clone(), position.partition);
        if let Some(high_watermark) = watermarks.get(&key) {
            let partition = position.partition.to_string();
            let labels = [&*position.group, &*position.topic, &partition];
            gauges.with_label_values(&labels).set((high_watermark - position.offset).max(0));
        }
    }
}

async fn high_watermarks(
    broker: &Arc<Broker>,
    positions: &[CommittedPosition],
) -> BTreeMap<Key, Offset> {
    let keys: HashSet<Key> = positions.iter().map(|p| (p.topic.clone(), p.partition)).collect();
    let (mut known, mut remote) = (BTreeMap::new(), BTreeMap::<BrokerId, Vec<Key>>::new());
    let image = broker.image();
    for key in keys {
        if let Some(partition) = broker.partitions.get(&key.0, key.1) {
            known.insert(key, partition.offsets().high_watermark);
        } else if let Some(leader) = image.partition(&key.0, key.1).and_then(|p| p.leader) {
            remote.entry(leader).or_default().push(key);
        }
    }
    let asked = remote.into_iter().map(|(leader, keys)| ask(broker, &image, leader, keys));
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
    image: &Image,
    leader: BrokerId,
    keys: Vec<Key>,
) -> Result<Vec<(Key, Offset)>, ClientError> {
    let listener = &broker.config.inter_broker_listener;
    let Some(endpoint) = image.broker(leader).and_then(|b| b.listener(listener)) else {
        return Ok(Vec::new());
    };
    let address = format!("{}:{}", endpoint.host, endpoint.port);
    let options =
        Options { connect_timeout: TIMEOUT, request_timeout: TIMEOUT, ..Options::default() };
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
    let response = Connection::open(&address, options).await?.call_newest(&request).await?;
    let found = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name.to_arc();
        let answered = topic.partitions.into_iter().filter(|p| p.error_code == 0);
        answered.map(move |p| ((name.clone(), p.partition_index), p.offset)).collect::<Vec<_>>()
    });
    Ok(found.collect())
}
