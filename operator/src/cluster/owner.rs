//! Who looks after a cluster. Two operators that both do would undo each other's work for ever, so
//! a cluster has one: it writes itself into an annotation before anything else, and whoever finds
//! another there leaves the cluster alone, its status included. A class in the spec says which
//! operator may take it.

use std::time::Duration;

use crd::KafkaCluster;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use plan::Me;
pub use plan::Standing;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Operator, names};
use crate::apply::patch_part;
use crate::error::Result;
use crate::runtime::{Settings, Severity};

/// On a `KafkaCluster`: namespace and name of the operator that looks after it.
pub const OWNER: &str = "barnabas.dev/operator";
/// An operator whose Lease nobody renewed for so long is gone for good.
const ABANDONED: Duration = Duration::from_secs(300);
/// Longest wait for an answer about another operator.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a cluster of that class is to the operator with these settings.
pub fn standing(metadata: &ObjectMeta, class: Option<&str>, settings: &Settings) -> Standing {
    let owner = metadata.annotations.as_ref().and_then(|all| all.get(OWNER));
    let me = settings.identity();
    let me = Me { name: &me, class: &settings.operator_class };
    plan::standing(owner.map(String::as_str), class, me)
}

impl Operator {
    /// The cluster, where it is this operator's; claims it where it is nobody's.
    pub(super) async fn owned(&self, cluster: KafkaCluster) -> Result<Option<KafkaCluster>> {
        let settings = &self.context.settings;
        let class = cluster.spec.operator_class.as_deref();
        match standing(&cluster.metadata, class, settings) {
            Standing::Ours => Ok(Some(cluster)),
            Standing::Free => self.claim(&cluster).await.map(Some),
            Standing::OtherClass { held } => {
                if held {
                    self.annotate(&cluster, Value::Null).await?;
                }
                self.let_go(&cluster);
                Ok(None)
            }
            Standing::Others(who) if self.is_abandoned(&who).await => {
                tracing::info!(cluster = cluster.name_any(), before = who, "taken over");
                self.claim(&cluster).await.map(Some)
            }
            Standing::Others(who) => {
                self.leave_alone(&cluster, &who).await;
                self.let_go(&cluster);
                Ok(None)
            }
        }
    }

    async fn claim(&self, cluster: &KafkaCluster) -> Result<KafkaCluster> {
        self.annotate(cluster, json!(self.context.settings.identity())).await
    }

    /// Refused where somebody wrote since: of two operators only one gets the cluster.
    async fn annotate(&self, cluster: &KafkaCluster, owner: Value) -> Result<KafkaCluster> {
        let names = names(cluster);
        let api: Api<KafkaCluster> = Api::namespaced(self.context.client.clone(), names.namespace);
        let version = &cluster.metadata.resource_version;
        let part = json!({"metadata": {"resourceVersion": version, "annotations": {OWNER: owner}}});
        patch_part(&self.context.metrics, &api, names.cluster, &part).await
    }

    fn let_go(&self, cluster: &KafkaCluster) {
        let names = names(cluster);
        self.forget(names.namespace, names.cluster);
    }

    /// Says so once. The status is the other's: two writers would be a loop of their own.
    async fn leave_alone(&self, cluster: &KafkaCluster, who: &str) {
        let key = (cluster.uid().unwrap_or_default(), who.to_owned());
        if !self.others.lock().insert(key) {
            return;
        }
        let names = names(cluster);
        let me = self.context.settings.identity();
        let note = format!(
            "operator {who} looks after this cluster, so {me} leaves it alone; to hand it over: \
             kubectl annotate kafkacluster -n {} {} {OWNER}={me} --overwrite",
            names.namespace, names.cluster
        );
        tracing::warn!(cluster = names.cluster, namespace = names.namespace, note);
        self.tell(cluster, Severity::Warning, "OtherOperator", "Reconcile", &note).await;
    }

    /// The operator was removed: its namespace is gone, or nobody renewed its Lease for long. Where
    /// that cannot be read, it is not known.
    async fn is_abandoned(&self, who: &str) -> bool {
        let Some((namespace, lease)) = who.split_once('/') else { return false };
        let client = &self.context.client;
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        match timeout(PATIENCE, leases.get_opt(lease)).await {
            Ok(Ok(Some(lease))) => is_stale(&lease, Timestamp::now()),
            Ok(Ok(None)) => {
                let namespaces: Api<Namespace> = Api::all(client.clone());
                let found = timeout(PATIENCE, namespaces.get_metadata_opt(namespace)).await;
                matches!(found, Ok(Ok(None)))
            }
            _ => false,
        }
    }
}

fn is_stale(lease: &Lease, now: Timestamp) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    renewed.is_some_and(|renewed| {
        let age = now.as_millisecond().saturating_sub(renewed.0.as_millisecond());
        u64::try_from(age).is_ok_and(|age| Duration::from_millis(age) > ABANDONED)
    })
}
