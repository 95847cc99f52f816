//! What an upgrade of the operator does to clusters: it moves no image that the user did not ask it
//! to move, and what it does change in pods it changes in a few clusters at a time.

use build::Names;
use crd::{KafkaCluster, KafkaClusterStatus};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::observe::{LiveObjects, Observation};
use super::problem::Problem;
use super::{CLUSTER_LABEL, Operator, names};
use crate::apply::{MANAGER, covers, value_of};
use crate::error::{Result, pages};

/// On the StatefulSet: the generation of the KafkaCluster that it was last made from. A template
/// that changes while this does not is the operator's doing.
const GENERATION: &str = "barnabas.dev/generation";
/// On the StatefulSet of a cluster that is being rolled because the operator makes pods otherwise:
/// that operator. What it has begun with is known to the one that follows it.
const TURN: &str = "barnabas.dev/operator-roll";
/// On a KafkaCluster, `true`: a version below `status.metadataVersion` is tried all the same.
const ALLOW_DOWNGRADE: &str = "barnabas.dev/allow-downgrade";

/// The image of a cluster's brokers.
pub struct Chosen {
    pub image: String,
    pub problem: Option<Problem>,
}

/// The image that the spec asks for, unless brokers of it could not read the cluster's metadata.
pub fn choose(cluster: &KafkaCluster, live: &LiveObjects, default_image: &str) -> Chosen {
    let running = running(cluster, live);
    let image = build::image(cluster, default_image, running.as_deref());
    if let Some(message) = too_old(cluster, &image) {
        let problem = Problem { reason: "DowngradeRefused", message, lasting: true };
        return Chosen { image: running.unwrap_or(image), problem: Some(problem) };
    }
    let names_none = cluster.spec.image.is_none() && cluster.spec.version.is_none();
    let waits = names_none && image != default_image;
    let problem = waits.then(|| Problem {
        reason: "UpgradeAvailable",
        message: format!(
            "the operator's image is {default_image}: spec.version, spec.image or \
             spec.upgradePolicy Auto takes the brokers there"
        ),
        lasting: false,
    });
    Chosen { image, problem }
}

/// What the cluster last ran as a whole; what its ready brokers run, where that was not noted.
fn running(cluster: &KafkaCluster, live: &LiveObjects) -> Option<String> {
    let noted = cluster.status.as_ref().and_then(|status| status.image.clone());
    let ready = || uniform(live.pods.values().filter(|pod| super::observe::pods::is_ready(pod)));
    noted.or_else(ready)
}

/// The image that all these pods' brokers have.
pub fn uniform<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<String> {
    let images = pods.filter_map(|pod| {
        // Others may have put containers of theirs before it.
        let mut containers = pod.spec.as_ref()?.containers.iter();
        containers.find(|container| container.name == build::CONTAINER)?.image.as_deref()
    });
    let mut images: Vec<&str> = images.collect();
    images.dedup();
    match images[..] {
        [image] => Some(image.to_owned()),
        _ => None,
    }
}

fn too_old(cluster: &KafkaCluster, image: &str) -> Option<String> {
    let floor = cluster.status.as_ref().and_then(|status| status.metadata_version.as_ref())?;
    let annotations = cluster.metadata.annotations.as_ref();
    let allowed = annotations.and_then(|all| all.get(ALLOW_DOWNGRADE));
    let version = build::version(image);
    let older = build::is_older(version, floor) == Some(true);
    (older && allowed.is_none_or(|value| value != "true")).then(|| {
        format!(
            "version {version} is not tried: brokers below {floor} may not read the cluster's \
             metadata, whose level does not go back ({ALLOW_DOWNGRADE}: \"true\" on the \
             KafkaCluster tries it)"
        )
    })
}

/// Notes what a cluster at rest runs, and the oldest version that is known to read its metadata:
/// the one that raised the level, or ran with it.
pub fn note(status: &mut KafkaClusterStatus, look: &Observation) {
    if look.plan.phase != plan::Phase::Ready {
        return;
    }
    let Some(image) = uniform(look.live.pods.values()) else { return };
    let version = build::version(&image).to_owned();
    status.image = Some(image);
    let level = look.seen.cluster.as_ref().and_then(|cluster| cluster.level);
    let Some(level) = level.map(|level| i32::from(level.finalized)) else { return };
    if build::is_older(&version, &version).is_none() {
        return;
    }
    let raised = status.metadata_level.is_none_or(|before| level > before);
    let floor = status.metadata_version.as_ref();
    let lower = floor.is_none_or(|floor| build::is_older(&version, floor) == Some(true));
    if raised || status.metadata_level == Some(level) && lower {
        status.metadata_level = Some(level);
        status.metadata_version = Some(version);
    }
}

fn key_of(names: &Names<'_>) -> (String, String) {
    (names.namespace.to_owned(), names.cluster.to_owned())
}

impl Operator {
    /// Keeps the pods' template as it is while the operator alone would change it and other
    /// clusters are being rolled for that; says so.
    pub(super) async fn pace(
        &self,
        look: &Observation,
        wanted: &mut StatefulSet,
    ) -> Result<Option<Problem>> {
        self.rolls_known.get_or_try_init(|| self.learn_rolls()).await?;
        let cluster = &look.cluster;
        let names = names(cluster);
        let generation = cluster.metadata.generation.unwrap_or_default().to_string();
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        annotations.insert(GENERATION.into(), generation.clone());
        let Some(live) = look.live.set(&names) else { return Ok(None) };
        let edited = live.annotations().get(GENERATION).is_some_and(|seen| *seen != generation);
        let (Some(now), Some(spec)) = (live.spec.as_ref(), wanted.spec.as_mut()) else {
            return Ok(None);
        };
        let waits = !edited && self.own_change(&names, &now.template, &spec.template)?;
        if self.rolls.lock().contains(&key_of(&names)) {
            annotations.insert(TURN.into(), self.context.settings.identity());
        }
        if !waits {
            return Ok(None);
        }
        spec.template = now.template.clone();
        let rolling = self.rolls.lock();
        let rolling: Vec<String> =
            rolling.iter().map(|(ns, name)| format!("{ns}/{name}")).collect();
        let message = format!(
            "this operator makes its brokers' pods otherwise; they are replaced after those of {}",
            rolling.join(", ")
        );
        Ok(Some(Problem { reason: "WaitingForOtherClusters", message, lasting: false }))
    }

    /// Whether the templates differ, nobody asked for it, and it is not this cluster's turn.
    fn own_change(
        &self,
        names: &Names<'_>,
        now: &PodTemplateSpec,
        wanted: &PodTemplateSpec,
    ) -> Result<bool> {
        let restart = |template: &PodTemplateSpec| {
            let all = template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
            all.and_then(|all| all.get(build::RESTARTED_ANNOTATION)).cloned()
        };
        if covers(&value_of(now)?, &value_of(wanted)?) || restart(now) != restart(wanted) {
            return Ok(false);
        }
        let key = key_of(names);
        let mut rolls = self.rolls.lock();
        let limit = usize::from(self.context.settings.concurrent_rolls.max(1));
        let turn = rolls.contains(&key) || rolls.len() < limit;
        if turn {
            rolls.insert(key);
        }
        Ok(!turn)
    }

    /// Finds the clusters that were being rolled when this process began.
    async fn learn_rolls(&self) -> Result<()> {
        let settings = &self.context.settings;
        let me = settings.identity();
        let namespaces = settings.namespaces();
        let apis: Vec<Api<StatefulSet>> = match namespaces.is_empty() {
            true => vec![Api::all(self.context.client.clone())],
            false => {
                namespaces.iter().map(|n| Api::namespaced(self.context.client.clone(), n)).collect()
            }
        };
        for api in apis {
            let labels = format!("app.kubernetes.io/managed-by={MANAGER}");
            let list = |params| {
                let api = &api;
                async move { api.list_metadata(&params).await }
            };
            let params = ListParams::default().labels(&labels);
            let sets = pages("list StatefulSets", params, list).await?;
            let begun = sets.iter().filter(|set| set.annotations().get(TURN) == Some(&me));
            let keys = begun.filter_map(|set| {
                Some((set.namespace()?, set.labels().get(CLUSTER_LABEL)?.clone()))
            });
            self.rolls.lock().extend(keys);
        }
        Ok(())
    }

    /// Another cluster's turn, once all brokers of this one are new and ready. Returns whether it
    /// was this one's.
    pub(super) fn end_roll(&self, look: &Observation) -> bool {
        let known = look.seen.fleet.is_taken_up();
        if known && look.seen.pods.values().all(|pod| pod.ready && !pod.outdated) {
            return self.rolls.lock().remove(&key_of(&names(&look.cluster)));
        }
        false
    }
}
