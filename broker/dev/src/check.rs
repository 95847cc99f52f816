//! `broker check`: does a cluster take records and give them back? A topic is made, records are
//! written to each of its partitions with acks=all and read again from its leader's advertised
//! address, and the topic is removed. For `helm test`, for people, for whoever has no client.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base::{ErrorCode, TopicId};
use bytes::Bytes;
use clap::Args;
use client::{Connection, Options};
use record::{BatchBuilder, BatchError, BatchOptions};
use tokio::time::{Instant, sleep};
use wire::Str;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::MetadataResponseTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, MetadataRequest, MetadataResponse,
    ProduceRequest,
};

use process::clock;

const RETRY_EVERY: Duration = Duration::from_millis(250);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT_MS: i32 = 10_000;
const FETCH_WAIT_MS: i32 = 500;
const FETCH_BYTES_MAX: i32 = 8 << 20;
/// A batch of so many records stays far below `message.max.bytes`.
const RECORDS_MAX: i64 = 10_000;
const PARTITIONS_MAX: i64 = 100;
const ALL_REPLICAS: i16 = -1;

/// Produce to a cluster and consume again.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Addresses to begin with: HOST:PORT, several with commas.
    #[arg(long)]
    pub bootstrap: String,
    /// The topic. Where it does not exist it is made, and removed afterwards.
    #[arg(long, default_value = "barnabas-check")]
    pub topic: String,
    /// Partitions of the topic that is made.
    #[arg(long, default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    pub partitions: i32,
    /// Its replication factor; the cluster's default without it.
    #[arg(long)]
    pub replication_factor: Option<i16>,
    /// Records for each partition.
    #[arg(long, default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=RECORDS_MAX))]
    pub records: u32,
    /// How long all of it may take, waiting for the cluster included: 500ms, 30s, 5m.
    #[arg(long, default_value = "60s")]
    pub timeout: Limit,
}

/// A duration as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Duration);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        let bad = || format!("{text:?} is not a duration such as 500ms, 30s or 5m");
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (count, unit) = text.split_at(unit_at);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        let count: u64 = count.parse().map_err(|_| bad())?;
        let ms = count.checked_mul(unit_ms).ok_or_else(bad)?;
        Ok(Limit(Duration::from_millis(ms)))
    }
}

/// Returns when every record has been read again; the error is why not.
pub fn run(args: CheckArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(check(args))
}

/// As [`run`], where there is a runtime.
pub async fn check(args: CheckArgs) -> Result<()> {
    let mut check = Check {
        deadline: Instant::now() + args.timeout.0,
        bootstrap: args.bootstrap.split(',').map(|a| a.trim().to_owned()).collect(),
        topic: Str::from(args.topic.as_str()),
        told: String::new(),
        made: false,
        args,
    };
    let outcome = check.round().await;
    // Also after a failure: what was made is not left behind.
    if check.made
        && let Err(error) = check.remove_topic().await
    {
        eprintln!("the topic {} is left behind: {error:#}", check.args.topic);
    }
    outcome
}

struct Check {
    args: CheckArgs,
    bootstrap: Vec<String>,
    topic: Str,
    deadline: Instant,
    /// The last reason to wait that was told.
    told: String,
    made: bool,
}

/// Where a partition is led, and by whom.
struct Leader {
    partition: i32,
    topic_id: TopicId,
    address: String,
}

impl Check {
    async fn round(&mut self) -> Result<()> {
        let partitions = self.topic_with_leaders().await?;
        for partition in 0..partitions {
            let start = Instant::now();
            let address = self.partition(partition).await?;
            println!(
                "partition {partition} at {address}: {} records written and read in {:.1?}",
                self.args.records,
                start.elapsed()
            );
        }
        println!("ok: {} produces and consumes", self.args.bootstrap);
        Ok(())
    }

    /// Waits for the cluster, makes the topic where it is missing, and waits for its leaders.
    async fn topic_with_leaders(&mut self) -> Result<i32> {
        loop {
            match self.look_for_leaders().await {
                Ok(partitions) => return Ok(partitions),
                Err(error) => self.wait("the topic", error).await?,
            }
        }
    }

    async fn look_for_leaders(&mut self) -> Result<i32> {
        let connection = self.connect().await?;
        let metadata = self.metadata(&connection).await?;
        let topic = topic_of(&metadata)?;
        if error(topic.error_code) == ErrorCode::UnknownTopicOrPartition {
            self.make_topic(&connection).await?;
            bail!("the topic {} has just been made", self.args.topic);
        }
        let count = i32::try_from(topic.partitions.len())?.min(PARTITIONS_MAX as i32);
        ensure!(count > 0, "{:?}: no partitions", error(topic.error_code));
        for partition in 0..count {
            leader(&metadata, partition)?;
        }
        Ok(count)
    }

    /// Any broker of the bootstrap addresses.
    async fn connect(&self) -> Result<Connection> {
        let mut last = anyhow!("no bootstrap address");
        for address in &self.bootstrap {
            match Connection::open(address, options()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    async fn metadata(&self, connection: &Connection) -> Result<MetadataResponse> {
        let topic = MetadataRequestTopic { name: Some(self.topic.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        connection.call_newest(&request).await.context("ask for metadata")
    }

    async fn make_topic(&mut self, connection: &Connection) -> Result<()> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: self.topic.clone(),
                num_partitions: self.args.partitions,
                replication_factor: self.args.replication_factor.unwrap_or(-1),
                ..Default::default()
            }],
            timeout_ms: CALL_TIMEOUT_MS,
            ..Default::default()
        };
        let response = connection.call_newest(&request).await.context("make the topic")?;
        let result = response.topics.first().context("the answer has no topic")?;
        match error(result.error_code) {
            ErrorCode::None => self.made = true,
            ErrorCode::TopicAlreadyExists => {}
            code => bail!(
                "make the topic: {code:?} {}",
                result.error_message.as_deref().unwrap_or_default()
            ),
        }
        Ok(())
    }

    async fn remove_topic(&self) -> Result<()> {
        let connection = self.connect().await?;
        let state = DeleteTopicState { name: Some(self.topic.clone()), ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: vec![state],
            topic_names: vec![self.topic.clone()],
            timeout_ms: CALL_TIMEOUT_MS,
        };
        let response = connection.call_newest(&request).await?;
        let result = response.responses.first().context("the answer has no topic")?;
        expect_none(result.error_code, "remove the topic")
    }

    /// Writes to a partition and reads again until both have worked; returns its leader.
    async fn partition(&mut self, partition: i32) -> Result<String> {
        loop {
            match self.try_partition(partition).await {
                Ok(address) => return Ok(address),
                Err(error) => self.wait(format!("partition {partition}"), error).await?,
            }
        }
    }

    async fn try_partition(&self, partition: i32) -> Result<String> {
        let any = self.connect().await?;
        let leader = leader(&self.metadata(&any).await?, partition)?;
        let connection = Connection::open(&leader.address, options()).await?;
        let values = values(self.args.records);
        let offset = self.produce(&connection, &leader, &values).await.context("produce")?;
        self.consume(&connection, &leader, offset, &values).await.context("consume")?;
        Ok(leader.address)
    }

    /// The offset of the first record.
    async fn produce(&self, to: &Connection, leader: &Leader, values: &[String]) -> Result<i64> {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        for value in values {
            batch.append(clock::wall_ms(), None, Some(value.as_bytes()), &[]);
        }
        let request = ProduceRequest {
            acks: ALL_REPLICAS,
            timeout_ms: CALL_TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                topic_id: leader.topic_id,
                partition_data: vec![PartitionProduceData {
                    index: leader.partition,
                    records: Some(Bytes::from(batch.finish())),
                }],
            }],
            ..Default::default()
        };
        let response = to.call_newest(&request).await?;
        let topic = response.responses.first().context("the answer has no topic")?;
        let result = topic.partition_responses.first().context("the answer has no partition")?;
        expect_none(result.error_code, result.error_message.as_deref().unwrap_or_default())?;
        Ok(result.base_offset)
    }

    async fn consume(
        &self,
        from: &Connection,
        leader: &Leader,
        first: i64,
        values: &[String],
    ) -> Result<()> {
        let mut read = Vec::new();
        while read.len() < values.len() {
            ensure!(Instant::now() < self.deadline, "{} of {} read", read.len(), values.len());
            let next = first + i64::try_from(read.len())?;
            read.extend(self.fetch(from, leader, next).await?);
        }
        // Others may write to a topic that was there before; a batch of theirs comes after ours.
        ensure!(read[..values.len()] == *values, "other records than those that were written");
        Ok(())
    }

    /// Values from this offset on.
    async fn fetch(&self, from: &Connection, leader: &Leader, offset: i64) -> Result<Vec<String>> {
        let partition = FetchPartition {
            partition: leader.partition,
            fetch_offset: offset,
            partition_max_bytes: FETCH_BYTES_MAX,
            ..Default::default()
        };
        let request = FetchRequest {
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            topics: vec![FetchTopic {
                topic: self.topic.clone(),
                topic_id: leader.topic_id,
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let response = from.call_newest(&request).await?;
        expect_none(response.error_code, "")?;
        let topic = response.responses.into_iter().next().context("the answer has no topic")?;
        let data = topic.partitions.into_iter().next().context("the answer has no partition")?;
        expect_none(data.error_code, "")?;
        let bytes = data.records.into_bytes().unwrap_or_default();
        values_from(&bytes, offset)
    }

    /// Tells why, if that is new, and waits a little; the error at the deadline.
    async fn wait(&mut self, what: impl Display, error: anyhow::Error) -> Result<()> {
        if Instant::now() + RETRY_EVERY >= self.deadline {
            return Err(error.context(format!("{what}: not within {:?}", self.args.timeout.0)));
        }
        let reason = format!("{what}: {error:#}");
        if reason != self.told {
            eprintln!("waiting for {reason}");
            self.told = reason;
        }
        sleep(RETRY_EVERY).await;
        Ok(())
    }
}

fn options() -> Options {
    Options { connect_timeout: CALL_TIMEOUT, request_timeout: CALL_TIMEOUT, ..Options::default() }
}

fn topic_of(metadata: &MetadataResponse) -> Result<&MetadataResponseTopic> {
    metadata.topics.first().context("the answer has no topic")
}

fn leader(metadata: &MetadataResponse, partition: i32) -> Result<Leader> {
    let topic = topic_of(metadata)?;
    expect_none(topic.error_code, "metadata")?;
    let found = topic.partitions.iter().find(|p| p.partition_index == partition);
    let found = found.with_context(|| format!("partition {partition} is not known"))?;
    let broker = metadata.brokers.iter().find(|b| b.node_id == found.leader_id);
    let broker = broker.with_context(|| format!("partition {partition} has no leader"))?;
    let address = format!("{}:{}", &*broker.host, broker.port);
    Ok(Leader { partition, topic_id: topic.topic_id, address })
}

/// What is written: told apart from what an earlier run wrote.
fn values(count: u32) -> Vec<String> {
    let run = uuid::Uuid::new_v4();
    (0..count).map(|i| format!("{run} {i}")).collect()
}

/// A batch may begin before the offset that was asked for.
fn values_from(bytes: &[u8], offset: i64) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for batch in record::batches(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            // Cut off by the limit of bytes.
            Err(BatchError::Truncated { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        batch.check_crc()?;
        let records = record::records(&batch, FETCH_BYTES_MAX as usize)?;
        for record in records.iter() {
            let record = record?;
            if record.offset >= offset {
                let value = record.value.unwrap_or_default();
                values.push(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    Ok(values)
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError)
}

fn expect_none(code: i16, context: &str) -> Result<()> {
    match error(code) {
        ErrorCode::None => Ok(()),
        code => bail!("{code:?} {context}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        let limit = |text: &str| text.parse::<Limit>().map(|limit| limit.0);
        assert_eq!(limit("180s"), Ok(Duration::from_secs(180)));
        assert_eq!(limit("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(limit("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "s", "-1s", "1d", "99999999999999999h"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_before_the_offset_and_a_cut_batch_are_passed_over() {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset: 7, ..Default::default() });
        for value in ["a", "b", "c"] {
            builder.append(1, None, Some(value.as_bytes()), &[]);
        }
        let mut bytes = builder.finish();
        let cut = bytes[..bytes.len() - 1].to_vec();
        bytes.extend(cut);
        assert_eq!(values_from(&bytes, 8).unwrap(), ["b", "c"]);
    }
}
