//! DescribeLogDirs (key 35, KIP-113, KIP-827): the log directories with their partitions' sizes and
//! the room on their volumes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base::ErrorCode;
use metadata::config::is_dir_cordoned;
use wire::Str;
use wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::{Broker, RequestContext};
use storage::partition::{Partition, Partitions};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = |partition: &Arc<Partition>| match &request.topics {
        None => true,
        Some(topics) => topics.iter().any(|t| {
            t.topic == *partition.id.topic && t.partitions.contains(&partition.id.partition)
        }),
    };
    let mut partitions = broker.storage.partitions.all();
    partitions.retain(wanted);
    partitions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let cordoned = broker.image().cordoned_log_dirs(broker.id).to_owned();
    let asked = broker.clone();
    // The file system may have to ask a disk.
    let describe = move || {
        let dirs = asked.config.log_dirs.iter();
        dirs.map(|dir| describe_dir(&asked.storage.partitions, dir, &partitions, &cordoned))
            .collect()
    };
    match broker.lookups.run(describe).await {
        Some(results) => DescribeLogDirsResponse { results, ..Default::default() },
        None => DescribeLogDirsResponse {
            error_code: ErrorCode::BrokerNotAvailable.code(),
            ..Default::default()
        },
    }
}

fn describe_dir(
    hosted: &Partitions,
    dir: &Path,
    partitions: &[Arc<Partition>],
    cordoned: &str,
) -> DescribeLogDirsResult {
    if hosted.dirs().is_offline(dir) {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir: Str::from(dir.display().to_string()),
            total_bytes: -1,
            usable_bytes: -1,
            is_cordoned: is_dir_cordoned(cordoned, &dir.to_string_lossy()),
            ..Default::default()
        };
    }
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions.iter().filter(|p| p.log_dir().as_deref() == Some(dir)) {
        let offsets = partition.offsets();
        topics.entry(&partition.id.topic).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.id.partition,
            partition_size: i64::try_from(partition.size()).unwrap_or(i64::MAX),
            offset_lag: (offsets.high_watermark - offsets.log_end).max(0),
            is_future_key: false,
        });
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| DescribeLogDirsTopic { name: Str::from(name), partitions });
    let (total_bytes, usable_bytes) = room(hosted, dir);
    DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        log_dir: Str::from(dir.display().to_string()),
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        is_cordoned: is_dir_cordoned(cordoned, &dir.to_string_lossy()),
    }
}

/// Size of the volume and what is left for us, in bytes; -1 where the system does not tell.
fn room(partitions: &Partitions, dir: &Path) -> (i64, i64) {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    match partitions.room(dir) {
        Some(room) => (bytes(room.total_bytes), bytes(room.free_bytes)),
        None => (-1, -1),
    }
}
