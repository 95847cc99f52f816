//! Altering dynamic configs of topics and brokers. A resource changes as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BrokerId, ErrorCode, TopicPartition, topic_name};

use super::draft::Draft;
use super::failure::error;
use crate::config::{
    self, ConfigKind, ConfigLayers, broker_key, dynamic_broker_config, list_items, resolve,
    topic_config, validate_value,
};
use crate::record::{ConfigRecord, ConfigResource, MetadataRecord};
use crate::request::{
    AlterConfigs, AlterConfigsRequest, ConfigOp, ConfigOpKind, ConfigResult, ControllerError,
    IncrementalAlterConfigs, IncrementalAlterConfigsRequest,
};

type Configs = BTreeMap<Arc<str>, Arc<str>>;

impl Draft<'_> {
    pub(super) fn incremental_alter_configs(
        &mut self,
        request: IncrementalAlterConfigsRequest,
    ) -> Vec<ConfigResult> {
        let repeated = repeated(request.resources.iter().map(|r| &r.resource));
        let resources = request.resources.into_iter();
        resources
            .map(|alter| {
                let result = check_once(&repeated, &alter.resource)
                    .and_then(|()| self.after_ops(&alter))
                    .and_then(|configs| self.replace_configs(&alter.resource, configs));
                ConfigResult { resource: alter.resource, result }
            })
            .collect()
    }

    pub(super) fn alter_configs(&mut self, request: AlterConfigsRequest) -> Vec<ConfigResult> {
        let repeated = repeated(request.resources.iter().map(|r| &r.resource));
        let resources = request.resources.into_iter();
        resources
            .map(|alter| {
                let result = check_once(&repeated, &alter.resource)
                    .and_then(|()| given_configs(&alter))
                    .and_then(|configs| self.replace_configs(&alter.resource, configs));
                ConfigResult { resource: alter.resource, result }
            })
            .collect()
    }

    /// The resource's configs after the operations.
    fn after_ops(&self, alter: &IncrementalAlterConfigs) -> Result<Configs, ControllerError> {
        let current = self.image.config(&alter.resource);
        let mut configs: Configs = current.map(|map| (**map).clone()).unwrap_or_default();
        let mut seen = BTreeSet::new();
        for op in &alter.ops {
            if !seen.insert(&op.name) {
                return error(ErrorCode::InvalidRequest, "Error due to duplicate config keys");
            }
            self.apply_op(&alter.resource, op, &mut configs)?;
        }
        Ok(configs)
    }

    fn apply_op(
        &self,
        resource: &ConfigResource,
        op: &ConfigOp,
        configs: &mut Configs,
    ) -> Result<(), ControllerError> {
        if op.kind == ConfigOpKind::Delete {
            configs.remove(&op.name);
            return Ok(());
        }
        let Some(value) = &op.value else {
            let message = format!("Null value not supported for : {}", op.name);
            return error(ErrorCode::InvalidRequest, message);
        };
        if op.kind == ConfigOpKind::Set {
            configs.insert(op.name.clone(), value.clone());
            return Ok(());
        }
        if kind_of(resource, &op.name) != Some(ConfigKind::List) {
            let verb = if op.kind == ConfigOpKind::Append { "APPEND" } else { "SUBTRACT" };
            let message = format!("Can't {verb} to key {} because its type is not LIST.", op.name);
            return error(ErrorCode::InvalidConfig, message);
        }
        let base = configs.get(&op.name).map(|value| value.to_string());
        let base = base.unwrap_or_else(|| self.inherited_list(&op.name));
        let mut items = list_items(&base);
        let operands = list_items(value);
        match op.kind {
            ConfigOpKind::Append => {
                for item in operands {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
            }
            _ => items.retain(|item| !operands.contains(item)),
        }
        configs.insert(op.name.clone(), items.join(",").into());
        Ok(())
    }

    /// What a list config is without an override: the base of the first append.
    fn inherited_list(&self, name: &str) -> String {
        let layers = ConfigLayers::of_broker(&self.image, None, &self.settings.static_config);
        let def = topic_config(name).or_else(|| config::topic_config_of_broker_key(name));
        def.map(|def| resolve(def, &layers).value).unwrap_or_default()
    }

    fn replace_configs(
        &mut self,
        resource: &ConfigResource,
        configs: Configs,
    ) -> Result<(), ControllerError> {
        self.check_resource(resource)?;
        let current = self.image.config(resource).cloned().unwrap_or_default();
        match resource {
            ConfigResource::Topic(_) => config::validate_topic_configs(&configs)
                .or_else(|why| error(ErrorCode::InvalidConfig, why))?,
            ConfigResource::Broker(_) | ConfigResource::BrokerDefault => {
                check_broker_configs(&current, &configs)?;
                check_cluster_wide(resource, &current, &configs)?;
                self.check_cordon(resource, &current, &configs)?;
            }
            ConfigResource::Group(_) | ConfigResource::ClientMetrics(_) => {}
        }
        let removed = current.keys().filter(|name| !configs.contains_key(*name));
        let removed = removed.map(|name| (name.clone(), None));
        let set = configs.iter().filter(|(name, value)| current.get(*name) != Some(*value));
        let set = set.map(|(name, value)| (name.clone(), Some(value.clone())));
        let changes: Vec<_> = removed.chain(set).collect();
        for (name, value) in &changes {
            let (resource, name, value) = (resource.clone(), name.clone(), value.clone());
            self.push(MetadataRecord::Config(ConfigRecord { resource, name, value }));
        }
        let changed = |key: &str| changes.iter().any(|(name, _)| &**name == key);
        if changed(config::MIN_ISR) {
            self.reconsider_elr(resource);
        }
        if changed("unclean.leader.election.enable") {
            self.elect_leaderless();
        }
        Ok(())
    }

    /// A cordon is one broker's, and names its directories.
    fn check_cordon(
        &self,
        resource: &ConfigResource,
        current: &Configs,
        configs: &Configs,
    ) -> Result<(), ControllerError> {
        let changed = configs.iter().filter(|(name, value)| current.get(*name) != Some(*value));
        let mut per_broker = changed.filter(|(name, _)| config::is_per_broker(name));
        let Some((name, value)) = per_broker.next() else { return Ok(()) };
        let ConfigResource::Broker(id) = resource else {
            let message = format!("Cannot update these configs at default cluster level: [{name}]");
            return error(ErrorCode::InvalidRequest, message);
        };
        let dirs = self.image.broker(*id).map(|b| b.log_dir_paths.clone()).unwrap_or_default();
        config::check_cordon(value, &dirs).or_else(|why| {
            let message = format!("Invalid value {value} for configuration {name}: {why}");
            error(ErrorCode::InvalidConfig, message)
        })
    }

    fn check_resource(&self, resource: &ConfigResource) -> Result<(), ControllerError> {
        match resource {
            ConfigResource::Topic(name) if self.image.topic(name).is_none() => {
                topic_name::check(name)
                    .or_else(|why| error(ErrorCode::InvalidTopicException, why.to_string()))?;
                let message = format!("The topic '{name}' does not exist.");
                error(ErrorCode::UnknownTopicOrPartition, message)
            }
            ConfigResource::Broker(BrokerId(id)) if self.image.broker(BrokerId(*id)).is_none() => {
                error(ErrorCode::BrokerIdNotRegistered, format!("Broker {id} is not registered."))
            }
            ConfigResource::Group(_) | ConfigResource::ClientMetrics(_) => error(
                ErrorCode::InvalidRequest,
                "Configs of groups and of client metrics are not supported.",
            ),
            _ => Ok(()),
        }
    }

    /// With a lower minimum an ISR may be large enough, and then nobody else is eligible.
    pub(super) fn reconsider_elr(&mut self, resource: &ConfigResource) {
        let topics: Vec<_> = match resource {
            ConfigResource::Topic(name) => self.image.topic(name).cloned().into_iter().collect(),
            _ => self.image.topics().cloned().collect(),
        };
        let mut partitions = Vec::new();
        for topic in topics {
            let with_elr = topic.partitions.iter().enumerate().filter(|(_, p)| !p.elr.is_empty());
            let name = &topic.name;
            partitions
                .extend(with_elr.map(|(index, _)| TopicPartition::new(name.clone(), index as i32)));
        }
        self.reconsider(partitions, |_| {});
    }
}

fn repeated<'a>(resources: impl Iterator<Item = &'a ConfigResource>) -> BTreeSet<ConfigResource> {
    let mut seen = BTreeSet::new();
    resources.filter(|resource| !seen.insert(*resource)).cloned().collect()
}

fn check_once(
    repeated: &BTreeSet<ConfigResource>,
    resource: &ConfigResource,
) -> Result<(), ControllerError> {
    if repeated.contains(resource) {
        return error(ErrorCode::InvalidRequest, "Error due to duplicate config resources");
    }
    Ok(())
}

fn given_configs(alter: &AlterConfigs) -> Result<Configs, ControllerError> {
    let mut configs = Configs::new();
    for (name, value) in &alter.configs {
        let Some(value) = value else {
            let message = format!("Null value not supported for : {name}");
            return error(ErrorCode::InvalidRequest, message);
        };
        configs.insert(name.clone(), value.clone());
    }
    Ok(configs)
}

fn kind_of(resource: &ConfigResource, name: &str) -> Option<ConfigKind> {
    match resource {
        ConfigResource::Topic(_) => topic_config(name).map(|def| def.kind),
        _ => dynamic_broker_config(name).map(|def| def.kind),
    }
}

/// Only new values are checked: a value that an older version accepted does not block others. Keys
/// that nobody knows are taken, as Kafka takes them: they are those of plug-ins.
fn check_broker_configs(current: &Configs, configs: &Configs) -> Result<(), ControllerError> {
    let changed = configs.iter().filter(|(name, value)| current.get(*name) != Some(*value));
    let mut fixed = Vec::new();
    for (name, value) in changed {
        match dynamic_broker_config(name) {
            Some(def) => validate_value(name, def.kind, def.valid, value)
                .or_else(|why| error(ErrorCode::InvalidConfig, why))?,
            None if broker_key(name).is_some() => fixed.push(&**name),
            None => {}
        }
    }
    if fixed.is_empty() {
        return Ok(());
    }
    let message = format!("Cannot update these configs dynamically: [{}]", fixed.join(", "));
    error(ErrorCode::InvalidRequest, message)
}

fn check_cluster_wide(
    resource: &ConfigResource,
    current: &Configs,
    configs: &Configs,
) -> Result<(), ControllerError> {
    if *resource == ConfigResource::BrokerDefault {
        return Ok(());
    }
    let mut changed = configs.iter().filter(|(name, value)| current.get(*name) != Some(*value));
    match changed.find(|(name, _)| config::is_cluster_wide(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!(
                "Cannot set {name} for one broker: leaders and controller must agree on it. Set \
                 it for a topic, or as the default of all brokers."
            );
            error(ErrorCode::InvalidConfig, message)
        }
    }
}
