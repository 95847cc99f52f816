//! What a pass sees: objects from the API server, then what the brokers say, and the plan that
//! follows.

mod http;
mod live;
mod nodes;
pub(super) mod pods;
mod probes;
mod quorum;
mod volumes;

pub use live::{LiveObjects, read};
pub use nodes::Nodes;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::BrokerId;
use build::{Facts, Names};
use crd::{AllowUnavailable, KafkaCluster, RebalanceMode, StorageDeletionPolicy};
use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use plan::{BrokerView, ClusterView, Desired, Fleet, Need, Observed, Plan, SetView};

use tokio::time::{sleep, timeout};

use super::{Operator, claims, remembered};
use crate::error::{Error, Result};
use crate::fleet;
use crate::kafka::{self, Admin};
use pods::is_ready;
use probes::Probes;

/// Pods asked at once why they are not ready.
const HEALTH_AT_ONCE: usize = 16;
/// For what all of them say: it is told, and nothing depends on it.
const HEALTH_MAX: Duration = Duration::from_secs(6);
/// For what is asked over Kafka's protocol in every pass, connecting included.
const KAFKA_MAX: Duration = Duration::from_secs(15);

/// Everything that a pass stands on.
pub struct Observation {
    pub cluster: KafkaCluster,
    pub live: LiveObjects,
    pub facts: Facts,
    pub seen: Observed,
    pub plan: Plan,
    /// What brokers that are not ready say of themselves.
    pub health: BTreeMap<BrokerId, String>,
    /// Where the brokers answered.
    pub admin: Option<Admin>,
}

impl Operator {
    /// Sees everything anew, and plans.
    pub async fn look(&self, cluster: KafkaCluster) -> Result<Observation> {
        let names = super::names(&cluster);
        let live = read(&self.context.client, &names).await?;
        self.look_at(with_id(cluster, &live), live).await
    }

    async fn look_at(&self, cluster: KafkaCluster, live: LiveObjects) -> Result<Observation> {
        let names = super::names(&cluster);
        let facts = self.facts(&cluster, &live);
        let mut seen = self.observed(&cluster, &names, &live);
        for id in self.stranded(&live, &seen.pods).await {
            seen.claims.entry(id).or_default().stranded = true;
        }
        let addresses = addresses(&live);
        let id = build::cluster_id(&cluster);
        let (said, health) = tokio::join!(
            probes::ask(&id, &addresses, self.context.settings.broker_http_port),
            self.health(&live),
        );
        let mut admin = None;
        match said {
            Ok(probes) => {
                let brokers = kafka_addresses(&cluster, &live, probes.controller);
                let connected = self.admin(&names, brokers).await;
                seen.cluster = Some(cluster_view(&connected, probes).await);
                admin = Some(connected);
            }
            Err(why) => seen.unreachable = Some(why),
        }
        let plan = plan_with(admin.as_ref(), &mut seen).await?;
        Ok(Observation { cluster, live, facts, seen, plan, health, admin })
    }

    fn facts(&self, cluster: &KafkaCluster, live: &LiveObjects) -> Facts {
        let nodes: Vec<_> =
            live.pods.values().filter_map(|p| self.nodes.get(node_name(p)?)).collect();
        let nodes = nodes.iter().map(|node| &**node);
        let config = live.config_maps.get(&super::names(cluster).config());
        Facts::observe(cluster, live.pods.values(), nodes, live.services.values(), config)
    }

    fn observed(&self, cluster: &KafkaCluster, names: &Names<'_>, live: &LiveObjects) -> Observed {
        let now_ms = now_ms();
        let fleet = fleet(cluster, names, live);
        let pods = live.pods.iter().map(|(id, pod)| {
            let node = self.nodes.state(node_name(pod));
            let set = fleet.pool_of(*id).and_then(|(_, pool)| pool.set.as_ref());
            let revision = set.and_then(|set| set.revision.as_deref());
            (*id, pods::view(pod, revision, node, now_ms))
        });
        Observed {
            now_ms,
            desired: desired(cluster),
            pods: pods.collect(),
            fleet,
            claims: live
                .claims
                .iter()
                // What was kept when its broker went is nobody's to delete later.
                .filter(|(_, claim)| !claims::is_retained(claim))
                .map(|(id, claim)| (*id, claims::view(claim, now_ms)))
                .collect(),
            missing_since: remembered::missing_since(cluster),
            rebalancing: remembered::was_rebalancing(cluster),
            last_voters: remembered::voters(cluster),
            changing_voter: remembered::changing_voter(cluster),
            ..Observed::default()
        }
    }

    /// The connections to a cluster's brokers, kept from pass to pass while they work.
    async fn admin(&self, names: &Names<'_>, brokers: Vec<String>) -> Admin {
        let key = (names.namespace.to_owned(), names.cluster.to_owned());
        let fresh = || Admin::new(Vec::new(), kafka::Options::default());
        let admin = self.admins.lock().entry(key).or_insert_with(fresh).clone();
        admin.set_bootstrap(brokers).await;
        admin
    }

    /// What running brokers that are not ready say.
    async fn health(&self, live: &LiveObjects) -> BTreeMap<BrokerId, String> {
        let port = self.context.settings.broker_http_port;
        let unready = live.pods.iter().filter(|(_, pod)| !is_ready(pod));
        let unready = unready.filter_map(|(id, pod)| Some((*id, address(pod)?)));
        stream::iter(unready.collect::<Vec<_>>())
            .map(|(id, address)| async move { Some((id, probes::health(address, port).await?)) })
            .buffer_unordered(HEALTH_AT_ONCE)
            .take_until(sleep(HEALTH_MAX))
            .filter_map(std::future::ready)
            .collect()
            .await
    }
}

/// Plans, and fetches what the plan needs, and plans again.
async fn plan_with(admin: Option<&Admin>, seen: &mut Observed) -> Result<Plan> {
    let mut plan = next_step(seen).await?;
    for _ in 0..plan::ROUNDS_MAX {
        let (Some(admin), false) = (admin, plan.needs.is_empty()) else { break };
        for need in std::mem::take(&mut plan.needs) {
            if let Err(error) = fetch(admin, need, seen).await {
                tracing::warn!(?need, %error, "cannot be observed");
                plan.message = format!("waiting for brokers to answer: {error}");
                plan.requeue_ms = Some(2_000);
                return Ok(plan);
            }
        }
        plan = next_step(seen).await?;
    }
    Ok(plan)
}

/// On a thread of its own: what is planned for a hundred thousand partitions must not hold up the
/// renewal of the Lease, nor other clusters.
pub(super) async fn next_step(seen: &mut Observed) -> Result<Plan> {
    let taken = std::mem::take(seen);
    let planning = tokio::task::spawn_blocking(move || {
        let plan = plan::next_step(&taken);
        (taken, plan)
    });
    let (back, plan) = planning.await.map_err(|e| Error::Build(format!("planning: {e}")))?;
    *seen = back;
    Ok(plan)
}

async fn fetch(admin: &Admin, need: Need, seen: &mut Observed) -> Result<(), String> {
    match need {
        Need::Partitions => {
            let brokers = seen.cluster.iter().flat_map(|cluster| &cluster.brokers);
            let live = brokers.filter(|(_, broker)| !broker.fenced).map(|(id, _)| *id);
            let live: Vec<_> = live.collect();
            seen.learn(quorum::partitions(admin, &live).await?);
        }
        Need::ThrottledTopics => {
            seen.throttled_topics = Some(quorum::throttled_topics(admin).await?);
        }
    }
    Ok(())
}

async fn cluster_view(admin: &Admin, probes: Probes) -> ClusterView {
    let incomplete = probes.moves.is_none();
    let mut view = view_of(probes);
    let asking = async {
        view.quorum = quorum::view(admin).await;
        if incomplete {
            view.moves = quorum::moves(admin).await;
        }
        view.level = quorum::level(admin).await;
    };
    if timeout(KAFKA_MAX, asking).await.is_err() {
        tracing::debug!("brokers do not answer over Kafka's protocol in time");
    }
    view
}

fn view_of(probes: Probes) -> ClusterView {
    let brokers = probes.brokers.into_iter().map(|(id, broker)| {
        let view = BrokerView {
            fenced: broker.fenced,
            rack: broker.rack,
            risk: Some(broker.risk),
            missing: broker.missing,
            settings: broker.settings,
            ..BrokerView::default()
        };
        (id, view)
    });
    ClusterView {
        brokers: brokers.collect(),
        racks: probes.racks,
        quorum: None,
        moves: probes.moves,
        level: None,
    }
}

/// Volumes that outlived an earlier resource of that name keep their cluster's id. The annotation
/// is not written to the resource.
fn with_id(mut cluster: KafkaCluster, live: &LiveObjects) -> KafkaCluster {
    if let Some(id) = claims::cluster_id(&live.claims) {
        let key = build::CLUSTER_ID_ANNOTATION.to_owned();
        let annotations = cluster.metadata.annotations.get_or_insert_default();
        annotations.entry(key).or_insert_with(|| id.clone());
    }
    cluster
}

/// The pools that are wanted, with what there is of each.
fn fleet(cluster: &KafkaCluster, names: &Names<'_>, live: &LiveObjects) -> Fleet {
    let mut fleet = fleet::wanted(cluster);
    for pool in fleet.pools.values_mut() {
        pool.set = live.set(names).map(set_view).or_else(|| orphaned(live));
    }
    fleet
}

fn set_view(set: &StatefulSet) -> SetView {
    let status = set.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let seen = observed.is_some() && observed >= set.metadata.generation;
    SetView {
        replicas: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        revision: status.filter(|_| seen).and_then(|status| status.update_revision.clone()),
    }
}

/// The set is gone and its pods are not, as while it is recreated: it had so many.
fn orphaned(live: &LiveObjects) -> Option<SetView> {
    let highest = live.pods.keys().next_back()?;
    Some(SetView { replicas: highest.0 + 1, revision: None })
}

fn desired(cluster: &KafkaCluster) -> Desired {
    let spec = &cluster.spec;
    let storage = spec.brokers.storage.as_ref();
    let node_loss_ms = spec.brokers.node_loss_timeout_seconds.map(|s| i64::from(s) * 1_000);
    let delete = |s: &crd::StorageSpec| s.deletion_policy == StorageDeletionPolicy::Delete;
    Desired {
        voters: spec.voters().min(spec.brokers.replicas),
        rolling: plan::Rolling {
            max_unavailable: spec.rolling.max_unavailable,
            same_rack_parallel: spec.rolling.same_rack_parallel,
            allow_unavailable: match spec.rolling.allow_unavailable {
                AllowUnavailable::Wait => plan::AllowUnavailable::Wait,
                AllowUnavailable::Proceed => plan::AllowUnavailable::Proceed,
            },
        },
        rebalance: plan::Rebalance {
            auto: spec.rebalance.mode == RebalanceMode::Auto,
            throttle: spec.rebalance.throttle_bytes_per_second,
            moves_per_broker: spec.rebalance.max_moves_per_broker,
        },
        paused: spec.paused,
        voter_lost_ms: node_loss_ms.map_or(plan::VOTER_LOST_MS, |ms| ms.min(plan::VOTER_LOST_MS)),
        node_loss_ms,
        delete_claims: storage.is_some_and(delete),
    }
}

/// Addresses of the pods, those that are ready first.
fn addresses(live: &LiveObjects) -> Vec<(BrokerId, IpAddr)> {
    let mut pods: Vec<_> = live.pods.iter().collect();
    pods.sort_by_key(|(id, pod)| (!is_ready(pod), **id));
    pods.into_iter().filter_map(|(id, pod)| Some((*id, address(pod)?))).collect()
}

/// Where the operator speaks Kafka: the internal listener at the pods' own addresses, the
/// controller first.
fn kafka_addresses(
    cluster: &KafkaCluster,
    live: &LiveObjects,
    controller: BrokerId,
) -> Vec<String> {
    let listener = cluster.spec.inter_broker_listener();
    let Some(port) = listener.and_then(|l| u16::try_from(l.port).ok()) else { return Vec::new() };
    let mut all = addresses(live);
    all.sort_by_key(|(id, _)| *id != controller);
    all.into_iter().map(|(_, ip)| SocketAddr::new(ip, port).to_string()).collect()
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
