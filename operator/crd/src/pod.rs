//! What a user may set of the broker pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, PodSecurityContext, SecurityContext, Toleration, TopologySpreadConstraint,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What a user may set of the broker pods. A change restarts the brokers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodTemplate {
    /// Labels; those of the operator win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations; those of the operator win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Without it: brokers prefer different nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bare_option::<Affinity>")]
    pub affinity: Option<Affinity>,
    /// Taints of nodes that the pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::bare_list::<Toleration>")]
    pub tolerations: Vec<Toleration>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Without it, and with a rack: brokers spread over the racks evenly where they can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::bare_list::<TopologySpreadConstraint>")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Security context of the pod; it replaces the operator's, which is restricted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bare_option::<PodSecurityContext>")]
    pub security_context: Option<PodSecurityContext>,
    /// Security context of the container; it replaces the operator's, which is restricted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bare_option::<SecurityContext>")]
    pub container_security_context: Option<SecurityContext>,
    /// Seconds that a broker has to hand off its leaders and stop, 35 or more: it takes up to 30
    /// for that, and what is killed meanwhile has to recover.
    #[schemars(range(min = 35, max = 86400))]
    pub termination_grace_period_seconds: i64,
    /// Environment of the broker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::bare_list::<EnvVar>")]
    pub env: Vec<EnvVar>,
    /// Service account of the pods; one without rights where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
}

impl Default for PodTemplate {
    fn default() -> PodTemplate {
        PodTemplate {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            affinity: None,
            tolerations: Vec::new(),
            node_selector: BTreeMap::new(),
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            security_context: None,
            container_security_context: None,
            termination_grace_period_seconds: 60,
            env: Vec::new(),
            service_account_name: None,
        }
    }
}
