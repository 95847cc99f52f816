//! One pass over one cluster: see, check, decide, apply, take one step, report.

use std::time::Duration;

use build::ClusterInput;
use crd::{KafkaCluster, KafkaClusterStatus, Phase, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, Resource};
use plan::{Plan, Step};
use serde_json::json;

use super::observe::{LiveObjects, Observation};
use super::owner::{Standing, standing};
use super::problem::Problem;
use super::status;
use super::{Operator, claims, dynamic, lost, names, owned_objects, reason_of, secret, upgrade};
use crate::apply::MANAGER;
use crate::error::{Category, Error, Result, request};
use crate::runtime::Severity;

/// When a step turned out to be no longer wanted.
const AGAIN: Duration = Duration::from_millis(500);
/// Who has waited for so many times a wait waits for that long again, up to a limit.
const PATIENCE_SHARE: u64 = 20;
const PATIENCE_MAX: Duration = Duration::from_secs(30);

impl Operator {
    /// Reconciles the cluster of that name.
    pub async fn pass(&self, namespace: &str, name: &str) -> Result<Action> {
        let Some(cluster) = self.cluster(namespace, name).await? else {
            self.forget(namespace, name);
            return Ok(Action::await_change());
        };
        if cluster.metadata.deletion_timestamp.is_some() {
            // Its objects go with it: they have it for an owner.
            return Ok(Action::await_change());
        }
        let Some(cluster) = self.owned(cluster).await? else {
            return Ok(Action::requeue(self.context.settings.resync()));
        };
        if self.context.namespace_goes(namespace).await {
            let new = status::of_going(&cluster, &now());
            self.write_status(&cluster, &new).await?;
            return Ok(Action::await_change());
        }
        let look = self.look(cluster).await?;
        let kept = self.keep(&look).await?;
        if !build::check_config(&look.cluster).is_empty() {
            return self.invalid(look, kept).await;
        }
        let (look, wrote, mut problems) = match look.cluster.spec.paused {
            true => (look, kept, Vec::new()),
            false => self.change(look, kept).await?,
        };
        problems.extend(claims::going(&look.live));
        problems.extend(lost::problems(&look));
        problems.extend(status::unaddressed(&look));
        let ended = self.end_roll(&look);
        let new = status::of_pass(&look, &problems, &now());
        let told = self.write_status(&look.cluster, &new).await?;
        self.measure(&look, &new, wrote || told);
        Ok(self.next(&look.plan, &new, wrote || ended))
    }

    /// The cluster as the API server has it now.
    pub(super) async fn cluster(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<KafkaCluster>> {
        let api: Api<DeserializeGuard<KafkaCluster>> =
            Api::namespaced(self.context.client.clone(), namespace);
        let found = request(format!("read KafkaCluster {name}"), api.get_opt(name)).await?;
        match found {
            None => Ok(None),
            Some(DeserializeGuard(Ok(cluster))) => Ok(Some(cluster)),
            Some(DeserializeGuard(Err(invalid))) => Err(Error::Unreadable(invalid.error)),
        }
    }

    /// Before anything that cannot be taken back, and after anything was applied, everything is
    /// seen once more, and must lead to the same step. Without that the status would call a spec
    /// reached by what was there before it.
    async fn confirmed(&self, look: Observation, wrote: bool) -> Result<Observation> {
        if !wrote && !look.plan.step.is_disruptive() {
            return Ok(look);
        }
        let names = names(&look.cluster);
        let Some(cluster) = self.cluster(names.namespace, names.cluster).await? else {
            return Ok(without_step(look));
        };
        let gone = cluster.metadata.deletion_timestamp.is_some();
        let class = cluster.spec.operator_class.as_deref();
        let ours = standing(&cluster.metadata, class, &self.context.settings) == Standing::Ours;
        let other = cluster.metadata.uid != look.cluster.metadata.uid || !ours;
        let valid = build::check_config(&cluster) == build::check_config(&look.cluster);
        if gone || other || !valid {
            return Ok(without_step(look));
        }
        let again = self.look(cluster).await?;
        match again.plan.step == look.plan.step {
            true => Ok(again),
            false => Ok(without_step(again)),
        }
    }

    /// Applies what is wanted, then takes the step. What lies between the last look and a step that
    /// cannot be taken back is as short as can be: all that takes time comes before that look.
    /// Returns what was seen last, whether anything was written, and what the user has to know.
    async fn change(
        &self,
        look: Observation,
        kept: bool,
    ) -> Result<(Observation, bool, Vec<Problem>)> {
        let (applied, mut problems) = self.apply(&look).await?;
        let mut wrote = kept | applied;
        let look = self.confirmed(look, wrote).await?;
        match self.act(&look).await {
            Ok(acted) => wrote |= acted,
            Err(error) => problems.push(self.not_taken(&look, error)?),
        }
        Ok((look, wrote, problems))
    }

    /// Applies all that disrupts nothing. Returns whether anything was written, and what the user
    /// has to know.
    pub(super) async fn apply(&self, look: &Observation) -> Result<(bool, Vec<Problem>)> {
        let Observation { cluster, live, .. } = look;
        let names = names(cluster);
        let mut problems = Vec::new();
        claims::none_of_before(cluster, live, &names)?;
        let tended = claims::reconcile(&self.context, cluster, live, &names).await?;
        problems.extend(claims::growth(&live.claims));
        let chosen = upgrade::choose(cluster, live, &self.context.settings.broker_image);
        let voters = voters(look);
        let input = ClusterInput {
            cluster,
            replicas: size_before(&look.plan),
            voters: &voters,
            begin: may_begin_cluster(cluster, live),
            secret: secret::stage(live, &names),
            image: &chosen.image,
            facts: &look.facts,
        };
        let mut objects = build::objects(&input);
        if let Some(message) = tended.refused {
            claims::keep_size(&mut objects.stateful_set, live.set(&names));
            problems.push(Problem::of_volume(message));
        }
        problems.extend(self.pace(look, &mut objects.stateful_set).await?);
        let made = secret::ensure(&self.context, &input, &names, live).await?;
        let applied =
            owned_objects::apply_all(&self.context, cluster, &names, live, &objects).await?;
        let mut wrote = tended.wrote | made | applied.wrote;
        problems.extend(applied.refused);
        problems.extend(chosen.problem);
        problems.extend(self.overridden(cluster));
        problems.extend(self.blind_spots(cluster));
        if let (Some(admin), Some(_)) = (&look.admin, &look.seen.cluster) {
            match dynamic::apply(admin, cluster).await {
                Ok(changed) => wrote |= changed,
                Err(problem) => problems.push(problem),
            }
        }
        Ok((wrote, problems))
    }

    /// Care that can only help, whatever else is paused, refused or in vain: brokers learn where
    /// they are, files remember it for those that start while no operator works, and claims say
    /// whose data they hold. What fails holds up none of the rest. Returns whether anything was
    /// written.
    async fn keep(&self, look: &Observation) -> Result<bool> {
        let Observation { cluster, live, .. } = look;
        let names = names(cluster);
        let told = self.annotate_pods(look).await;
        let remembered = match live.config_maps.get(&names.config()) {
            Some(config) => {
                let kept = build::kept_config(cluster, config, &look.facts);
                match kept == *config {
                    true => Ok(false),
                    false => {
                        let wanted = build::owned_config(cluster, kept);
                        owned_objects::apply_config(&self.context, cluster, &names, live, &wanted)
                            .await
                    }
                }
            }
            None => Ok(false),
        };
        let noted = match &look.seen.cluster {
            Some(_) => {
                let id = build::cluster_id(cluster);
                claims::note(&self.context, &names, &live.claims, &id).await
            }
            None => Ok(false),
        };
        Ok(told? | remembered? | noted?)
    }

    /// What a policy of Kubernetes changes whenever it is written.
    fn overridden(&self, cluster: &KafkaCluster) -> Option<Problem> {
        let all = self.context.marks.of(cluster.metadata.uid.as_deref().unwrap_or_default());
        let message = format!(
            "something changes what the operator writes, and is let be: {}",
            all.join(", ")
        );
        (!all.is_empty()).then_some(Problem { reason: "Overridden", message, lasting: false })
    }

    /// A step that brokers did not take is tried again in the next pass; the user hears of it.
    fn not_taken(&self, look: &Observation, error: Error) -> Result<Problem> {
        let category = error.category();
        if !matches!(category, Category::Brokers | Category::Timeout) {
            return Err(error);
        }
        let step = look.plan.step.name();
        tracing::warn!(cluster = ?look.cluster.metadata.name, step, %error, "step not taken");
        self.context.metrics.failed("cluster", category);
        let message = format!("{step} is tried again: {error}");
        Ok(Problem { reason: "StepFailed", message, lasting: false })
    }

    /// Tells brokers their racks and addresses as soon as they are known.
    async fn annotate_pods(&self, look: &Observation) -> Result<bool> {
        let names = names(&look.cluster);
        let mut wrote = false;
        for (id, pod) in &look.live.pods {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let Some(wanted) = build::pod_properties(&look.cluster, id.0, &look.facts) else {
                continue;
            };
            let key = build::BROKER_PROPERTIES_ANNOTATION;
            let now = pod.metadata.annotations.as_ref().and_then(|all| all.get(key));
            // What it was told while its node could be seen stays true while it cannot.
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let blind = node.is_none_or(|node| self.nodes.get(node).is_none());
            if now.is_some() && blind && self.context.settings.global_read {
                continue;
            }
            if now != Some(&wanted) {
                let name = names.pod(id.0);
                let namespace = names.namespace;
                let done = owned_objects::annotate_pod(
                    &self.context,
                    namespace,
                    &name,
                    key,
                    Some(&wanted),
                );
                match done.await {
                    Ok(()) => wrote = true,
                    // It was replaced in between.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(wrote)
    }

    /// What the spec asks for and the operator may not read.
    fn blind_spots(&self, cluster: &KafkaCluster) -> Option<Problem> {
        let blind = cluster.spec.rack.is_some() && !self.nodes.are_known();
        blind.then(|| Problem {
            reason: "NodesNotReadable",
            message: "spec.rack needs the right to read nodes, which the operator does not have: \
                      brokers have no rack"
                .into(),
            lasting: true,
        })
    }

    /// A config that brokers would refuse: nothing that may make one start with it is applied.
    /// Volumes still grow, and voters still follow: neither has anything to do with the config.
    async fn invalid(&self, look: Observation, kept: bool) -> Result<Action> {
        let mut wrote = kept;
        let mut look = look;
        let mut problems = Vec::new();
        if !look.cluster.spec.paused {
            let names = names(&look.cluster);
            let tended =
                claims::reconcile(&self.context, &look.cluster, &look.live, &names).await?;
            problems.extend(claims::growth(&look.live.claims));
            wrote |= tended.wrote;
            problems.extend(tended.refused.map(Problem::of_volume));
            if matches!(look.plan.step, Step::AddVoter(_) | Step::RemoveVoter(_)) {
                look = self.confirmed(look, wrote).await?;
                match self.act(&look).await {
                    Ok(acted) => wrote |= acted,
                    Err(error) => problems.push(self.not_taken(&look, error)?),
                }
            }
        }
        let new = status::of_invalid(&look, &problems, &now());
        let told = self.write_status(&look.cluster, &new).await?;
        self.measure(&look, &new, wrote || told);
        let again = if wrote { AGAIN } else { self.context.settings.resync() };
        Ok(Action::requeue(again))
    }

    /// Says in the status why a pass failed, where only a user can mend that.
    pub async fn report_failure(&self, namespace: &str, name: &str, error: &Error) {
        if let Error::Unreadable(error) = error {
            if let Err(error) = self.report_unreadable(namespace, name, error).await {
                tracing::warn!(namespace, name, %error, "failure not reported");
            }
            return;
        }
        let Some(reason) = reason_of(error.category()) else { return };
        let report = async {
            let Some(cluster) = self.cluster(namespace, name).await? else { return Ok(()) };
            let class = cluster.spec.operator_class.as_deref();
            if standing(&cluster.metadata, class, &self.context.settings) != Standing::Ours {
                return Ok(());
            }
            let new = status::of_failure(&cluster, reason, &error.to_string(), &now());
            self.write_status(&cluster, &new).await?;
            Ok::<(), Error>(())
        };
        if let Err(error) = report.await {
            tracing::debug!(namespace, name, %error, "failure not reported");
        }
    }

    /// A spec of a newer version, or one that got past a definition that is not ours: nothing is
    /// done to the cluster, and its status says so instead of what was true before.
    async fn report_unreadable(&self, namespace: &str, name: &str, error: &str) -> Result<()> {
        let resource = ApiResource::erase::<KafkaCluster>(&());
        let client = self.context.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
        let found = request(format!("read {name}"), api.get_opt(name)).await?;
        let Some(object) = found else { return Ok(()) };
        let class = object.data["spec"]["operatorClass"].as_str();
        match standing(&object.metadata, class, &self.context.settings) {
            Standing::Ours | Standing::Free => {}
            Standing::Others(_) | Standing::OtherClass { .. } => return Ok(()),
        }
        let before = serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
        let new = status::of_unreadable(&before, object.metadata.generation, error, &now());
        if before != new {
            self.patch_status(namespace, name, object.metadata.uid.as_ref(), &new).await?;
        }
        Ok(())
    }

    /// Returns whether it was written: the cluster may be gone.
    async fn patch_status(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&String>,
        new: &KafkaClusterStatus,
    ) -> Result<bool> {
        let api: Api<KafkaCluster> = Api::namespaced(self.context.client.clone(), namespace);
        self.context.metrics.wrote("KafkaClusterStatus");
        let patch = json!({
            "apiVersion": KafkaCluster::api_version(&()), "kind": KafkaCluster::kind(&()),
            "metadata": {"name": name, "uid": uid},
            "status": new,
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&patch);
        match request("write the status", api.patch_status(name, &params, &patch)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            // It was written, and what came back holds what cannot be read.
            Err(Error::Api { source, .. }) if matches!(*source, kube::Error::SerdeError(_)) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the status if it differs, and tells of a new phase. Returns whether it differed.
    pub(super) async fn write_status(
        &self,
        cluster: &KafkaCluster,
        new: &KafkaClusterStatus,
    ) -> Result<bool> {
        if cluster.status.as_ref() == Some(new) {
            return Ok(false);
        }
        let names = names(cluster);
        let uid = cluster.metadata.uid.as_ref();
        if !self.patch_status(names.namespace, names.cluster, uid, new).await? {
            return Ok(false);
        }
        let before = cluster.status.as_ref().and_then(|status| status.phase);
        if let Some(phase) = new.phase.filter(|phase| Some(*phase) != before) {
            let severity = match phase {
                Phase::Degraded | Phase::Invalid => Severity::Warning,
                _ => Severity::Normal,
            };
            let note = new.message.as_deref().unwrap_or_default();
            tracing::info!(cluster = names.cluster, namespace = names.namespace, %phase, note);
            self.tell(cluster, severity, &phase.to_string(), "Reconcile", note).await;
        }
        Ok(true)
    }

    /// Publishes an Event on the cluster.
    pub async fn tell(
        &self,
        cluster: &KafkaCluster,
        severity: Severity,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let on = cluster.object_ref(&());
        self.context
            .events
            .publish(&self.context.metrics, &on, severity, reason, action, note)
            .await;
    }

    fn measure(&self, look: &Observation, new: &KafkaClusterStatus, wrote: bool) {
        let metrics = &self.context.metrics;
        let names = names(&look.cluster);
        let labels = &[names.namespace, names.cluster];
        let degraded = crd::find_condition(&new.conditions, crd::kind::DEGRADED);
        let degraded = degraded.is_some_and(|condition| condition.status == "True");
        let in_flight = new.rebalance.as_ref().map_or(0, |rebalance| rebalance.in_flight);
        let desired = look.cluster.spec.brokers.replicas;
        metrics.brokers_desired.with_label_values(labels).set(i64::from(desired));
        let ready = i64::from(new.ready_replicas.unwrap_or(0));
        metrics.brokers_ready.with_label_values(labels).set(ready);
        let blocking = i64::try_from(look.plan.blocking).unwrap_or(i64::MAX);
        metrics.partitions_blocking.with_label_values(labels).set(blocking);
        metrics.moves_in_flight.with_label_values(labels).set(in_flight);
        metrics.degraded.with_label_values(labels).set(i64::from(degraded));
        metrics.steady(names.namespace, names.cluster, !wrote && look.plan.step == Step::Nothing);
    }

    fn next(&self, plan: &Plan, new: &KafkaClusterStatus, wrote: bool) -> Action {
        let wanted = plan.requeue_ms.map(Duration::from_millis);
        let wanted = match plan.step {
            Step::Nothing => wanted.map(|wait| wait.max(patience(new, Timestamp::now()))),
            _ => wanted,
        };
        let wanted = if wrote { Some(wanted.unwrap_or(AGAIN).min(AGAIN * 2)) } else { wanted };
        Action::requeue(wanted.unwrap_or(self.context.settings.resync()))
    }
}

/// How long to wait at least where something has been waited for for long: the longer, the longer.
/// What changes in Kubernetes is seen at once all the same.
pub(super) fn patience(status: &KafkaClusterStatus, now: Timestamp) -> Duration {
    let since = status.step.as_ref().and_then(|step| step.since.as_ref());
    let waited = since.map_or(0, |since| now.as_millisecond() - since.0.as_millisecond());
    Duration::from_millis(u64::try_from(waited).unwrap_or(0) / PATIENCE_SHARE).min(PATIENCE_MAX)
}

pub(super) fn now() -> Time {
    Time(Timestamp::now())
}

/// The step is no longer what follows, or not for sure: nothing is done, and looked again soon.
fn without_step(mut look: Observation) -> Observation {
    look.plan.step = Step::Nothing;
    look.plan.sizes = look.seen.fleet.sizes();
    look.plan.requeue_ms = Some(AGAIN.as_millis() as u64);
    look
}

/// How many pods there are to be before the step is taken.
fn size_before(plan: &Plan) -> i32 {
    match plan.step {
        Step::Shrink { .. } => plan.size() + 1,
        _ => plan.size(),
    }
}

/// Ids for `controller.quorum.voters`: the quorum's own, else what the status remembers of them,
/// else those that are to begin it.
fn voters(look: &Observation) -> Vec<i32> {
    let quorum = look.seen.cluster.as_ref().and_then(|c| c.quorum.as_ref());
    let known = quorum.map(|quorum| quorum.voters.keys().map(|id| id.0).collect::<Vec<_>>());
    let status = look.cluster.status.as_ref().map(|status| status.voters.clone());
    let known = known.or(status).filter(|voters| !voters.is_empty());
    known.unwrap_or_else(|| {
        let first = look.seen.fleet.first_voters(look.seen.desired.voters);
        first.map(|id| id.0).collect()
    })
}

/// Whether brokers with empty disks may begin the cluster: it was never seen, and no volume is
/// older than it. Without volumes every restart empties a disk: then they may whenever all voters
/// are empty, which the first of them makes sure of.
fn may_begin_cluster(cluster: &KafkaCluster, live: &LiveObjects) -> bool {
    if cluster.spec.brokers.storage.is_none() {
        return true;
    }
    let known = cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some());
    let created = cluster.metadata.creation_timestamp.as_ref();
    let older = |claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim| {
        claim.metadata.creation_timestamp.as_ref() < created
    };
    !known && !live.claims.values().any(older)
}
