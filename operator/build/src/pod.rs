//! The pod template. What it contains restarts every broker when it changes.

use std::collections::BTreeMap;

use crd::{CONTROLLER_PORT, HTTP_PORT, ImagePullPolicy, KafkaCluster, PodTemplate};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIVolumeFile,
    DownwardAPIVolumeSource, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
    LocalObjectReference, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecurityContext,
    TopologySpreadConstraint, Volume, VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::config::config_hash;
use crate::input::ClusterInput;
use crate::listeners::needs_pod_config;
use crate::metadata_of::{label_selector, labels};
use crate::names::{
    BROKER_PROPERTIES_ANNOTATION, CONFIG_DIR, CONFIG_HASH_ANNOTATION, CONTAINER, DATA_DIR,
    DATA_VOLUME, POD_INFO_DIR, POD_INFO_FILE, RESTART_ANNOTATION, RESTARTED_ANNOTATION, SECRET_DIR,
    SECRET_VOLUME,
};
use crate::properties::COMMON_FILE;
use crate::secret;

/// The user of our images; it owns nothing but `/data`.
const USER: i64 = 65_532;
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

pub(crate) fn template(input: &ClusterInput<'_>) -> PodTemplateSpec {
    let wishes = &input.cluster.spec.brokers.pod_template;
    let mut all_labels = wishes.labels.clone();
    all_labels.extend(labels(input.names().cluster));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: Some(annotations(input.cluster)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_spec(input, wishes)),
    }
}

fn annotations(cluster: &KafkaCluster) -> BTreeMap<String, String> {
    let mut all = cluster.spec.brokers.pod_template.annotations.clone();
    // The operator writes this one on pods; a template's value would be a broker's wrong address.
    all.remove(BROKER_PROPERTIES_ANNOTATION);
    all.remove(RESTART_ANNOTATION);
    all.insert(CONFIG_HASH_ANNOTATION.into(), config_hash(cluster));
    let asked = cluster.metadata.annotations.as_ref().and_then(|all| all.get(RESTART_ANNOTATION));
    if let Some(asked) = asked {
        // Another name than on pods, where it asks for one more replacement.
        all.insert(RESTARTED_ANNOTATION.into(), asked.clone());
    }
    all
}

fn pod_spec(input: &ClusterInput<'_>, wishes: &PodTemplate) -> PodSpec {
    let names = input.names();
    let account = wishes.service_account_name.clone().unwrap_or_else(|| names.broker());
    PodSpec {
        affinity: Some(wishes.affinity.clone().unwrap_or_else(|| apart(names.cluster))),
        automount_service_account_token: Some(false),
        containers: vec![container(input, wishes)],
        enable_service_links: Some(false),
        image_pull_secrets: secrets(input.cluster),
        node_selector: non_empty(wishes.node_selector.clone()),
        priority_class_name: wishes.priority_class_name.clone(),
        security_context: Some(
            wishes.security_context.clone().unwrap_or_else(restricted_pod_security),
        ),
        service_account_name: Some(account),
        termination_grace_period_seconds: Some(wishes.termination_grace_period_seconds),
        tolerations: (!wishes.tolerations.is_empty()).then(|| wishes.tolerations.clone()),
        topology_spread_constraints: spread(input.cluster),
        volumes: Some(volumes(input)),
        ..PodSpec::default()
    }
}

fn non_empty(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

fn secrets(cluster: &KafkaCluster) -> Option<Vec<LocalObjectReference>> {
    let names = &cluster.spec.image_pull_secrets;
    let references = names.iter().map(|name| LocalObjectReference { name: name.clone() });
    (!names.is_empty()).then(|| references.collect())
}

/// Brokers prefer different nodes.
fn apart(cluster: &str) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(label_selector(cluster)),
                        topology_key: HOSTNAME_LABEL.into(),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// With racks: brokers spread over them evenly where they can. A rack that is down must not keep
/// the others from taking its pods.
fn spread(cluster: &KafkaCluster) -> Option<Vec<TopologySpreadConstraint>> {
    let wishes = &cluster.spec.brokers.pod_template.topology_spread_constraints;
    if !wishes.is_empty() {
        return Some(wishes.clone());
    }
    let rack = cluster.spec.rack.as_ref()?;
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    Some(vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: rack.node_label.clone(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(label_selector(name)),
        ..TopologySpreadConstraint::default()
    }])
}

fn restricted_pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        // Changing the owner of every file of a large volume would take minutes at each start.
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn restricted_container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        ..SecurityContext::default()
    }
}

fn container(input: &ClusterInput<'_>, wishes: &PodTemplate) -> Container {
    let spec = &input.cluster.spec;
    let pull = spec.image_pull_policy.map(|policy| match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    });
    Container {
        name: CONTAINER.into(),
        image: Some(input.image.to_owned()),
        image_pull_policy: pull.map(str::to_owned),
        args: Some(args(input)),
        env: Some(environment(wishes)),
        ports: Some(ports(input.cluster)),
        resources: spec.brokers.resources.clone(),
        // The process answers before it has read its logs, so neither probe waits for recovery.
        startup_probe: Some(probe("/healthz", 1, 2, 60)),
        liveness_probe: Some(probe("/healthz", 10, 5, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2, 3)),
        security_context: Some(
            wishes.container_security_context.clone().unwrap_or_else(restricted_container_security),
        ),
        // The last words of a broker that does not start reach the user by the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts(input.cluster)),
        ..Container::default()
    }
}

/// Later files win, and what is given here over all files.
fn args(input: &ClusterInput<'_>) -> Vec<String> {
    let mut args = vec![
        "run".to_owned(),
        "--config".into(),
        format!("{CONFIG_DIR}/{COMMON_FILE}"),
        "--config".into(),
        format!("{CONFIG_DIR}/$(POD_NAME).properties"),
    ];
    if needs_pod_config(input.cluster) {
        args.extend(["--pod-config".into(), format!("{POD_INFO_DIR}/{POD_INFO_FILE}")]);
    }
    args.extend(secret::args(input.secret));
    args
}

/// The pod's name comes first: the arguments refer to it, and a user cannot replace it.
fn environment(wishes: &PodTemplate) -> Vec<EnvVar> {
    let name = EnvVar {
        name: "POD_NAME".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(field("metadata.name")),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let wanted = wishes.env.iter().filter(|var| var.name != "POD_NAME").cloned();
    [name].into_iter().chain(wanted).collect()
}

fn field(path: &str) -> ObjectFieldSelector {
    ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.into() }
}

fn ports(cluster: &KafkaCluster) -> Vec<ContainerPort> {
    let own = [("controller", CONTROLLER_PORT), ("http", HTTP_PORT)];
    let listeners = cluster.spec.listeners.iter().map(|l| (l.name.as_str(), l.port));
    listeners
        .chain(own)
        .map(|(name, port)| ContainerPort {
            name: Some(name.into()),
            container_port: port,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        })
        .collect()
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(HTTP_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn mounts(cluster: &KafkaCluster) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount(DATA_VOLUME, DATA_DIR, false),
        mount("config", CONFIG_DIR, true),
        mount(SECRET_VOLUME, SECRET_DIR, true),
    ];
    if needs_pod_config(cluster) {
        mounts.push(mount("podinfo", POD_INFO_DIR, true));
    }
    mounts
}

/// Without storage the data volume lives and dies with the pod.
fn volumes(input: &ClusterInput<'_>) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: input.names().config(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    volumes.push(secret::volume(input));
    if needs_pod_config(input.cluster) {
        volumes.push(Volume {
            name: "podinfo".into(),
            downward_api: Some(DownwardAPIVolumeSource {
                items: Some(vec![DownwardAPIVolumeFile {
                    path: POD_INFO_FILE.into(),
                    field_ref: Some(field(&format!(
                        "metadata.annotations['{BROKER_PROPERTIES_ANNOTATION}']"
                    ))),
                    ..DownwardAPIVolumeFile::default()
                }]),
                ..DownwardAPIVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    if input.cluster.spec.brokers.storage.is_none() {
        volumes.push(Volume {
            name: DATA_VOLUME.into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    volumes
}
