//! Takes the step of a plan. Every step may be repeated: one that is done already does nothing.

use std::collections::BTreeMap;

use base::{BrokerId, TopicPartition};
use crd::CONTROLLER_PORT;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::EvictParams;
use kube::{Api, ResourceExt};
use metadata::config::CORDONED_LOG_DIRS;
use plan::Step;
use plan::moves::ThrottleChange;
use serde_json::json;

use super::observe::Observation;
use super::owned_objects::{delete, delete_this};
use super::pass::now;
use super::status::before_step;
use super::{Operator, names};
use crate::apply::patch_part;
use crate::error::{Category, Error, Result, request};
use crate::kafka::{Admin, ConfigChange, ConfigResource, ItemResult, throttle_changes};
use crate::runtime::Severity;

/// Failures named in one message.
const NAMED_MAX: usize = 5;

impl Operator {
    /// Takes the step of the plan. Returns whether there was one.
    pub async fn act(&self, look: &Observation) -> Result<bool> {
        let step = &look.plan.step;
        if *step == Step::Nothing {
            return Ok(false);
        }
        let names = names(&look.cluster);
        let (cluster, namespace) = (names.cluster, names.namespace);
        tracing::info!(namespace, cluster, step = step.name(), detail = %look.plan.message);
        if let Some(status) = before_step(look, &now()) {
            self.write_status(&look.cluster, &status).await?;
        }
        match step {
            Step::Nothing => {}
            Step::Shrink { .. } => self.shrink(look).await?,
            Step::Restart { brokers, .. } => self.restart(look, brokers).await?,
            Step::DeleteClaim(id) => self.delete_claim(look, *id).await?,
            Step::Replace { broker, volume } => self.replace(look, *broker, *volume).await?,
            Step::StartMoves { .. } | Step::ClearThrottle(_) => {
                let _ours = self.context.throttles.hold(namespace, cluster).await;
                kafka_step(look, step).await?;
            }
            _ => kafka_step(look, step).await?,
        }
        if has_event(step) {
            let note = &look.plan.message;
            self.tell(&look.cluster, Severity::Normal, step.name(), step.name(), note).await;
        }
        Ok(true)
    }

    async fn restart(&self, look: &Observation, brokers: &[BrokerId]) -> Result<()> {
        let namespace = names(&look.cluster).namespace;
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        let rolling = &look.cluster.spec.rolling;
        // Kubernetes' budget is for one pod at a time.
        let alone = !rolling.same_rack_parallel && rolling.max_unavailable.is_none_or(|n| n <= 1);
        for id in brokers {
            let Some(pod) = look.live.pods.get(id) else { continue };
            self.context.metrics.wrote("Pod");
            let ready = look.seen.pods.get(id).is_some_and(|pod| pod.ready);
            match alone && ready {
                true => evict(&api, pod).await?,
                false => delete(&api, &pod.name_any(), &delete_this(pod)).await?,
            }
        }
        Ok(())
    }

    /// Its other objects follow in the next pass.
    async fn shrink(&self, look: &Observation) -> Result<()> {
        let names = names(&look.cluster);
        let Some(set) = look.live.set(&names) else { return Ok(()) };
        let api: Api<StatefulSet> = Api::namespaced(self.context.client.clone(), names.namespace);
        let part = json!({"metadata": {"uid": set.metadata.uid},
            "spec": {"replicas": look.plan.size()}});
        patch_part(&self.context.metrics, &api, &names.broker(), &part).await?;
        Ok(())
    }

    pub(super) async fn delete_claim(&self, look: &Observation, id: BrokerId) -> Result<()> {
        let namespace = names(&look.cluster).namespace;
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.context.client.clone(), namespace);
        if let Some(claim) = look.live.claims.get(&id) {
            self.context.metrics.wrote("PersistentVolumeClaim");
            delete(&api, &claim.name_any(), &delete_this(claim)).await?;
        }
        Ok(())
    }
}

/// Ends a pod that serves, unless its budget says that another one has just gone, as by a drain of
/// its node. One that does not serve is no loss to a budget, and is deleted.
async fn evict(api: &Api<Pod>, pod: &Pod) -> Result<()> {
    let name = pod.name_any();
    let params = EvictParams { delete_options: Some(delete_this(pod)), ..EvictParams::default() };
    match request(format!("evict Pod {name}"), api.evict(&name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) if error.is_held_back() => Err(Error::Brokers(format!("not now: {error}"))),
        // The Role of an older chart.
        Err(error) if error.category() == Category::Forbidden => {
            delete(api, &name, &delete_this(pod)).await
        }
        Err(error) => Err(error),
    }
}

/// Steps that repeat with every batch have the phase's Event.
fn has_event(step: &Step) -> bool {
    !matches!(step, Step::Nothing | Step::StartMoves { .. })
}

/// A step that brokers take.
async fn kafka_step(look: &Observation, step: &Step) -> Result<()> {
    let Some(admin) = &look.admin else {
        return Err(Error::Brokers("the brokers cannot be reached".into()));
    };
    match step {
        Step::Cordon(ids) => alter(admin, &cordon(ids, true)).await,
        Step::Uncordon(ids) => alter(admin, &cordon(ids, false)).await,
        Step::StartMoves { moves, throttle } => {
            if let Some(throttle) = throttle {
                set_throttle(admin, throttle).await?;
            }
            all_done(admin.reassign(moves).await?)
        }
        Step::CancelMoves(partitions) => all_done(admin.cancel_reassignments(partitions).await?),
        Step::ClearThrottle(change) => {
            let moves = look.seen.cluster.as_ref().and_then(|cluster| cluster.moves.as_ref());
            end_throttle(admin, change, moves.is_some_and(Vec::is_empty)).await
        }
        Step::AddVoter(id) | Step::RemoveVoter(id) => change_voter(look, admin, *id, step).await,
        Step::Unregister(id) => Ok(admin.unregister_broker(*id).await?),
        Step::RaiseLevel(level) => Ok(admin.raise_level(*level).await?),
        Step::ElectPreferred(partitions) => {
            // A preferred replica that cannot lead now is elected later.
            for (partition, answer) in admin.elect_preferred(partitions).await? {
                if let Err(refused) = answer {
                    tracing::debug!(%partition, %refused, "not elected");
                }
            }
            Ok(())
        }
        Step::Nothing
        | Step::Shrink { .. }
        | Step::Restart { .. }
        | Step::Replace { .. }
        | Step::DeleteClaim(_) => Ok(()),
    }
}

/// Where it ends because no move is left, others may have begun since: those of a topic's resource.
async fn end_throttle(admin: &Admin, change: &ThrottleChange, unused: bool) -> Result<()> {
    if unused && !admin.list_reassignments().await?.is_empty() {
        return Ok(());
    }
    set_throttle(admin, change).await
}

async fn change_voter(look: &Observation, admin: &Admin, id: BrokerId, step: &Step) -> Result<()> {
    let quorum = admin.describe_quorum().await?;
    let member = quorum.voters.get(&id).or(quorum.observers.get(&id));
    let directory = member.map(|member| member.directory).unwrap_or_default();
    if matches!(step, Step::RemoveVoter(_)) {
        return Ok(admin.remove_raft_voter(id, directory).await?);
    }
    let host = names(&look.cluster).broker_host(id.0);
    let port = u16::try_from(CONTROLLER_PORT).unwrap_or_default();
    Ok(admin.add_raft_voter(id, directory, &host, port).await?)
}

fn cordon(ids: &[BrokerId], on: bool) -> Vec<ConfigChange> {
    let change = |id: &BrokerId| ConfigChange {
        resource: ConfigResource::Broker(*id),
        set: on.then(|| (CORDONED_LOG_DIRS.to_owned(), "*".to_owned())).into_iter().collect(),
        delete: (!on).then(|| CORDONED_LOG_DIRS.to_owned()).into_iter().collect(),
    };
    ids.iter().map(change).collect()
}

async fn set_throttle(admin: &Admin, change: &ThrottleChange) -> Result<()> {
    for changes in throttle_changes(change) {
        alter(admin, &changes).await?;
    }
    Ok(())
}

async fn alter(admin: &Admin, changes: &[ConfigChange]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let answers = admin.alter_configs(changes, false).await?;
    let failed: Vec<String> = changes
        .iter()
        .zip(answers)
        .filter_map(|(change, answer)| Some((change, answer.err()?)))
        // A topic that is gone has nothing to throttle.
        .filter(|(_, refused)| refused.code != base::ErrorCode::UnknownTopicOrPartition)
        .map(|(change, refused)| format!("{:?}: {refused}", change.resource))
        .collect();
    errors_to_result("configs were not altered", &failed)
}

fn all_done(answers: BTreeMap<TopicPartition, ItemResult<()>>) -> Result<()> {
    let failed: Vec<String> = answers
        .into_iter()
        .filter_map(|(partition, answer)| Some(format!("{partition}: {}", answer.err()?)))
        .collect();
    errors_to_result("partitions were not moved", &failed)
}

fn errors_to_result(what: &str, failed: &[String]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let named = failed[..failed.len().min(NAMED_MAX)].join("; ");
    Err(Error::Brokers(format!("{} {what}: {named}", failed.len())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cordon_is_set_for_the_broker_alone_and_taken_back_by_deleting_it() {
        let on = cordon(&[BrokerId(3)], true);
        assert_eq!(on[0].resource, ConfigResource::Broker(BrokerId(3)));
        assert_eq!(on[0].set[CORDONED_LOG_DIRS], "*");
        let off = cordon(&[BrokerId(3)], false);
        assert!(off[0].set.is_empty() && off[0].delete.contains(CORDONED_LOG_DIRS));
    }

    #[tokio::test]
    async fn a_pod_that_serves_is_evicted_so_that_a_drain_and_a_roll_take_turns() {
        let path = "/api/v1/namespaces/ns/pods/c-broker-0";
        let fake = crate::fake_api::FakeApi::default();
        fake.put(path, json!({"apiVersion": "v1", "kind": "Pod"}));
        let pods: Api<Pod> = Api::namespaced(fake.client(), "ns");
        let pod = pods.get("c-broker-0").await.unwrap();
        fake.hold_back(path);
        let error = evict(&pods, &pod).await.unwrap_err();
        assert_eq!(error.category(), Category::Brokers, "it is tried again: {error}");
        assert!(fake.get(path).is_some());
        fake.let_go(path);
        evict(&pods, &pod).await.unwrap();
        assert!(fake.get(path).is_none());
        assert_eq!(fake.take_writes(), [format!("POST {path}/eviction")]);
    }

    /// A resource asks for more replicas, and its moves begin between the look and the step.
    #[tokio::test]
    async fn a_throttle_does_not_end_under_moves_that_began_since() {
        use crate::kafka::tests::{Answer, admin_of, broker, moves_of};
        use wire::AnyRequest;

        let mut change = ThrottleChange::default();
        change.topics.insert("t".into(), None);
        for (moving, unused, ends) in [(1, true, false), (0, true, true), (1, false, true)] {
            let script = move |request: &AnyRequest| match request {
                AnyRequest::ListPartitionReassignments(_) => moves_of("t", moving),
                _ => Answer::HangUp,
            };
            let (address, seen) = broker(script).await;
            let ended = end_throttle(&admin_of(address), &change, unused).await;
            let seen = seen.lock().unwrap();
            let altered = |r: &AnyRequest| matches!(r, AnyRequest::IncrementalAlterConfigs(_));
            assert_eq!(seen.iter().any(altered), ends, "{moving} {ended:?}");
        }
    }
}
