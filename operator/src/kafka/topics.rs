//! Topics: what there is, and making, widening and deleting them.

use std::collections::BTreeMap;

use base::{BrokerId, TopicId};
use plan::PartitionView;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::create_topics_response::CreatableTopicResult;
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use wire::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeTopicPartitionsRequest, create_partitions_request,
};
use wire::{ApiKey, Str};

use super::{Admin, AdminError, ItemResult, Refused, Result};

/// Topics of one request.
const PAGE: usize = 100;
/// Partitions of one answer; brokers may send fewer.
const PARTITIONS_PAGE: i32 = 2_000;
/// Answers of one listing: far more than any cluster has; a broker that never ends is no cluster.
const PAGES_MAX: usize = 10_000;

/// A topic without its configs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicInfo {
    pub id: TopicId,
    /// The brokers' own.
    pub internal: bool,
    /// By number. Moves in flight are not marked: see [`Admin::partitions`].
    pub partitions: Vec<PartitionView>,
}

/// A topic to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    pub name: String,
    /// -1: the brokers' default.
    pub partitions: i32,
    /// -1: the brokers' default.
    pub replication_factor: i32,
    pub config: BTreeMap<String, String>,
}

/// What was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Created {
    pub id: TopicId,
    /// Negative where the broker does not say.
    pub partitions: i32,
    pub replication_factor: i32,
}

impl Admin {
    /// Those of these topics that exist.
    pub async fn describe_topics(&self, names: &[String]) -> Result<BTreeMap<String, TopicInfo>> {
        let mut all = BTreeMap::new();
        for page in names.chunks(PAGE) {
            let topics = page.iter().map(|name| TopicRequest { name: Str::from(name) }).collect();
            self.describe_page(topics, &mut all).await?;
        }
        Ok(all)
    }

    /// Every topic.
    pub async fn all_topics(&self) -> Result<BTreeMap<String, TopicInfo>> {
        let mut all = BTreeMap::new();
        self.describe_page(Vec::new(), &mut all).await?;
        Ok(all)
    }

    /// Every partition, with the moves in flight marked.
    pub async fn partitions(&self) -> Result<Vec<PartitionView>> {
        // Before and after: a move that begins or ends meanwhile is seen by one of them.
        let mut moves = self.list_reassignments().await?;
        let topics = self.all_topics().await?;
        moves.extend(self.list_reassignments().await?);
        let mut partitions: Vec<_> = topics.into_values().flat_map(|t| t.partitions).collect();
        super::moves::mark(&mut partitions, &moves);
        Ok(partitions)
    }

    async fn describe_page(
        &self,
        topics: Vec<TopicRequest>,
        all: &mut BTreeMap<String, TopicInfo>,
    ) -> Result<()> {
        let api = ApiKey::DescribeTopicPartitions;
        let mut request = DescribeTopicPartitionsRequest {
            topics,
            response_partition_limit: PARTITIONS_PAGE,
            cursor: None,
        };
        for _ in 0..PAGES_MAX {
            let response = self.read(&request).await?;
            for topic in response.topics {
                add(topic, all).map_err(|refused| AdminError::Refused { api, refused })?;
            }
            let Some(next) = response.next_cursor else { return Ok(()) };
            let cursor =
                Cursor { topic_name: next.topic_name, partition_index: next.partition_index };
            request.cursor = Some(cursor);
        }
        Err(AdminError::Protocol { api, reason: "the pages do not end".into() })
    }

    /// Makes topics; answers by name.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
    ) -> Result<BTreeMap<String, ItemResult<Created>>> {
        let mut all = BTreeMap::new();
        for page in topics.chunks(PAGE) {
            let request = CreateTopicsRequest {
                topics: page.iter().map(creatable).collect(),
                timeout_ms: self.server_timeout_ms(),
                validate_only: false,
            };
            let results = self.call(&request).await?.topics;
            let answers = results.into_iter().map(|r| (String::from(r.name.clone()), created(&r)));
            all.extend(answers);
            self.complete(page.iter().map(|topic| &topic.name), &mut all).await;
        }
        Ok(all)
    }

    /// Deletes topics; answers by name.
    pub async fn delete_topics(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, ItemResult<()>>> {
        let mut all = BTreeMap::new();
        for page in names.chunks(PAGE) {
            let topic =
                |name| DeleteTopicState { name: Some(Str::from(name)), topic_id: TopicId::ZERO };
            let request = DeleteTopicsRequest {
                topics: page.iter().map(topic).collect(),
                timeout_ms: self.server_timeout_ms(),
                ..Default::default()
            };
            for r in self.call(&request).await?.responses {
                let result = Refused::check(r.error_code, r.error_message.as_ref());
                all.insert(r.name.map(String::from).unwrap_or_default(), result);
            }
            self.complete(page.iter(), &mut all).await;
        }
        Ok(all)
    }

    /// Brings topics to so many partitions; answers by name.
    pub async fn create_partitions(
        &self,
        counts: &[(String, i32)],
    ) -> Result<BTreeMap<String, ItemResult<()>>> {
        let mut all = BTreeMap::new();
        for page in counts.chunks(PAGE) {
            let topic = |(name, count): &(String, i32)| {
                let (name, count) = (Str::from(name), *count);
                create_partitions_request::CreatePartitionsTopic { name, count, assignments: None }
            };
            let request = CreatePartitionsRequest {
                topics: page.iter().map(topic).collect(),
                timeout_ms: self.server_timeout_ms(),
                validate_only: false,
            };
            for r in self.call(&request).await?.results {
                let result = Refused::check(r.error_code, r.error_message.as_ref());
                all.insert(r.name.into(), result);
            }
            self.complete(page.iter().map(|(name, _)| name), &mut all).await;
        }
        Ok(all)
    }

    /// Every item asked for gets an answer, and what tells of the broker is noticed.
    async fn complete<T>(
        &self,
        asked: impl Iterator<Item = &String>,
        all: &mut BTreeMap<String, ItemResult<T>>,
    ) {
        for name in asked {
            let answer = all.entry(name.clone()).or_insert_with(|| Err(Refused::unanswered()));
            if let Err(refused) = answer {
                self.notice(refused).await;
            }
        }
    }
}

/// Puts a topic, or the rest of one, to the others. One that does not exist is left out.
fn add(
    topic: DescribeTopicPartitionsResponseTopic,
    all: &mut BTreeMap<String, TopicInfo>,
) -> ItemResult<()> {
    let Some(name) = topic.name.map(String::from) else { return Ok(()) };
    if let Err(refused) = Refused::check(topic.error_code, None) {
        return match refused.code {
            base::ErrorCode::UnknownTopicOrPartition | base::ErrorCode::InvalidTopicException => {
                Ok(())
            }
            _ => Err(refused),
        };
    }
    let info = all.entry(name.clone()).or_default();
    info.id = topic.topic_id;
    info.internal = topic.is_internal;
    info.partitions.extend(topic.partitions.into_iter().map(|p| view(&name, p)));
    Ok(())
}

fn view(topic: &str, p: DescribeTopicPartitionsResponsePartition) -> PartitionView {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    PartitionView {
        topic: topic.to_owned(),
        partition: p.partition_index,
        replicas: ids(p.replica_nodes),
        isr: ids(p.isr_nodes),
        adding: Vec::new(),
        removing: Vec::new(),
        leader: (p.leader_id >= 0).then_some(BrokerId(p.leader_id)),
        bytes: None,
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let configs = topic.config.iter().map(|(name, value)| CreatableTopicConfig {
        name: Str::from(name),
        value: Some(Str::from(value)),
    });
    CreatableTopic {
        name: Str::from(&topic.name),
        num_partitions: topic.partitions,
        replication_factor: i16::try_from(topic.replication_factor).unwrap_or(i16::MAX),
        assignments: Vec::new(),
        configs: configs.collect(),
    }
}

fn created(result: &CreatableTopicResult) -> ItemResult<Created> {
    Refused::check(result.error_code, result.error_message.as_ref())?;
    Ok(Created {
        id: result.topic_id,
        partitions: result.num_partitions,
        replication_factor: i32::from(result.replication_factor),
    })
}
