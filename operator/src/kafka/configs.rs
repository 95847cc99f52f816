//! Configs of topics, of one broker, and of all brokers.

use std::collections::{BTreeMap, BTreeSet};

use base::{BrokerId, ErrorCode};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use wire::{ApiKey, Str};

use super::{Admin, AdminError, ItemResult, Refused, Result};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;
/// Resources of one request.
const PAGE: usize = 100;

/// What has configs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfigResource {
    Topic(String),
    Broker(BrokerId),
    /// Every broker that does not say otherwise itself.
    AllBrokers,
}

impl ConfigResource {
    fn kind(&self) -> i8 {
        match self {
            ConfigResource::Topic(_) => TOPIC,
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => BROKER,
        }
    }

    fn name(&self) -> Str {
        match self {
            ConfigResource::Topic(name) => Str::from(name),
            ConfigResource::Broker(id) => Str::from(id.to_string()),
            ConfigResource::AllBrokers => Str::from(""),
        }
    }
}

/// The value of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigValue {
    /// `None` where it is secret.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfigSource {
    /// Set for this topic.
    Topic,
    /// Set at run time for this broker.
    Broker,
    /// Set at run time for all brokers.
    AllBrokers,
    /// From the broker's file.
    File,
    Default,
    Unknown,
}

impl ConfigSource {
    fn from_wire(code: i8) -> ConfigSource {
        match code {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::AllBrokers,
            4 => ConfigSource::File,
            5 => ConfigSource::Default,
            _ => ConfigSource::Unknown,
        }
    }
}

/// A change of one resource's own configs; what it does not name stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigChange {
    pub resource: ConfigResource,
    pub set: BTreeMap<String, String>,
    /// Back to what is inherited.
    pub delete: BTreeSet<String>,
}

type Values = BTreeMap<String, ConfigValue>;

impl Admin {
    /// Configs of topics: those that are set for the topic itself, by topic.
    pub async fn topic_configs(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, ItemResult<BTreeMap<String, String>>>> {
        let mut all = BTreeMap::new();
        for page in topics.chunks(PAGE) {
            let named = page.iter().map(|topic| resource(TOPIC, Str::from(topic)));
            let request =
                DescribeConfigsRequest { resources: named.collect(), ..Default::default() };
            for result in self.read(&request).await?.results {
                let name = String::from(result.resource_name.clone());
                all.insert(name, values(result).map(own));
            }
        }
        Ok(all)
    }

    /// Topics for which at least one of these keys is set; the answer has these keys only.
    pub async fn topics_with(&self, keys: &[&str]) -> Result<Vec<String>> {
        let names: Vec<String> = self.all_topics().await?.into_keys().collect();
        let mut found = Vec::new();
        for page in names.chunks(PAGE) {
            let wanted: Vec<Str> = keys.iter().map(|key| Str::from(*key)).collect();
            let named = page.iter().map(|topic| DescribeConfigsResource {
                configuration_keys: Some(wanted.clone()),
                ..resource(TOPIC, Str::from(topic))
            });
            let request =
                DescribeConfigsRequest { resources: named.collect(), ..Default::default() };
            for result in self.read(&request).await?.results {
                let message = result.error_message.as_ref();
                match Refused::check(result.error_code, message) {
                    // It was deleted meanwhile.
                    Err(refused) if refused.code == ErrorCode::UnknownTopicOrPartition => continue,
                    Err(refused) => {
                        let api = ApiKey::DescribeConfigs;
                        return Err(AdminError::Refused { api, refused });
                    }
                    Ok(()) => {}
                }
                let own = |c: &DescribeConfigsResourceResult| {
                    ConfigSource::from_wire(c.config_source) == ConfigSource::Topic
                };
                if result.configs.iter().any(own) {
                    found.push(result.resource_name.into());
                }
            }
        }
        Ok(found)
    }

    /// All configs of one broker, as it has them. The broker itself is asked.
    pub async fn broker_configs(&self, broker: BrokerId) -> Result<Values> {
        let request = DescribeConfigsRequest {
            resources: vec![resource(BROKER, Str::from(broker.to_string()))],
            ..Default::default()
        };
        only(self.read_from(broker, &request).await?.results)
    }

    /// [`Admin::broker_configs`] of each of these brokers.
    pub async fn broker_configs_of(
        &self,
        brokers: &[BrokerId],
    ) -> BTreeMap<BrokerId, Result<Values>> {
        self.each(brokers, |id| self.broker_configs(id)).await
    }

    /// What is set at run time for all brokers.
    pub async fn all_brokers_configs(&self) -> Result<Values> {
        let request = DescribeConfigsRequest {
            resources: vec![resource(BROKER, Str::from(""))],
            ..Default::default()
        };
        only(self.read(&request).await?.results)
    }

    /// Changes configs; one answer for each change, in their order. Each resource occurs once.
    pub async fn alter_configs(
        &self,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<Vec<ItemResult<()>>> {
        let mut answers = Vec::with_capacity(changes.len());
        for page in changes.chunks(PAGE) {
            let request = IncrementalAlterConfigsRequest {
                resources: page.iter().map(alteration).collect(),
                validate_only,
            };
            let responses = self.call(&request).await?.responses;
            let mut by_resource: BTreeMap<(i8, String), ItemResult<()>> = responses
                .into_iter()
                .map(|r| {
                    let result = Refused::check(r.error_code, r.error_message.as_ref());
                    ((r.resource_type, r.resource_name.into()), result)
                })
                .collect();
            for change in page {
                let key = (change.resource.kind(), change.resource.name().into());
                let answer = by_resource.remove(&key).unwrap_or(Err(Refused::unanswered()));
                if let Err(refused) = &answer {
                    self.notice(refused).await;
                }
                answers.push(answer);
            }
        }
        Ok(answers)
    }
}

fn resource(resource_type: i8, resource_name: Str) -> DescribeConfigsResource {
    DescribeConfigsResource { resource_type, resource_name, configuration_keys: None }
}

fn alteration(change: &ConfigChange) -> AlterConfigsResource {
    let set = change.set.iter().map(|(name, value)| AlterableConfig {
        name: Str::from(name),
        config_operation: OPERATION_SET,
        value: Some(Str::from(value)),
    });
    let delete = change.delete.iter().map(|name| AlterableConfig {
        name: Str::from(name),
        config_operation: OPERATION_DELETE,
        value: None,
    });
    AlterConfigsResource {
        resource_type: change.resource.kind(),
        resource_name: change.resource.name(),
        configs: set.chain(delete).collect(),
    }
}

fn values(result: DescribeConfigsResult) -> ItemResult<Values> {
    Refused::check(result.error_code, result.error_message.as_ref())?;
    let value = |c: DescribeConfigsResourceResult| {
        let value = ConfigValue {
            value: c.value.map(String::from).filter(|_| !c.is_sensitive),
            source: ConfigSource::from_wire(c.config_source),
            read_only: c.read_only,
        };
        (String::from(c.name), value)
    };
    Ok(result.configs.into_iter().map(value).collect())
}

/// A topic's own.
fn own(values: Values) -> BTreeMap<String, String> {
    let own = values.into_iter().filter(|(_, config)| config.source == ConfigSource::Topic);
    own.map(|(name, config)| (name, config.value.unwrap_or_default())).collect()
}

fn only(results: Vec<DescribeConfigsResult>) -> Result<Values> {
    let api = ApiKey::DescribeConfigs;
    let Some(result) = results.into_iter().next() else {
        let refused = Refused::new(ErrorCode::UnknownServerError, "the answer is empty");
        return Err(AdminError::Refused { api, refused });
    };
    values(result).map_err(|refused| AdminError::Refused { api, refused })
}
