//! Services: names of brokers, a way in, and for external listeners one way in and one per broker.

use std::collections::BTreeMap;

use crd::{CONTROLLER_PORT, HTTP_PORT, ListenerSpec, ListenerType};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::address::bound_port;
use crate::input::ClusterInput;
use crate::metadata_of::{labels, object_meta};

const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";

pub(crate) fn services(input: &ClusterInput<'_>) -> Vec<Service> {
    let mut all = vec![headless(input)];
    all.extend(bootstrap(input));
    let external = input.cluster.spec.listeners.iter().filter(|l| l.kind != ListenerType::Internal);
    for listener in external {
        all.push(listener_bootstrap(input, listener));
        all.extend(input.ordinals().map(|id| listener_broker(input, listener, id)));
    }
    all
}

/// Brokers need each other's names to become ready, so the names do not wait for readiness.
fn headless(input: &ClusterInput<'_>) -> Service {
    let listeners = input.cluster.spec.listeners.iter();
    let ports = listeners
        .map(|l| port(&l.name, l.port))
        .chain([port("controller", CONTROLLER_PORT), port("http", HTTP_PORT)])
        .collect();
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        ..spec(input, ports)
    };
    service(input, input.names().headless_service(), BTreeMap::new(), spec)
}

fn bootstrap(input: &ClusterInput<'_>) -> Option<Service> {
    let listeners = input.cluster.spec.listeners.iter();
    let ports: Vec<ServicePort> = listeners
        .filter(|l| l.kind == ListenerType::Internal)
        .map(|l| port(&l.name, l.port))
        .collect();
    if ports.is_empty() {
        return None;
    }
    let spec = ServiceSpec { type_: Some("ClusterIP".into()), ..spec(input, ports) };
    Some(service(input, input.names().bootstrap_service(), BTreeMap::new(), spec))
}

fn listener_bootstrap(input: &ClusterInput<'_>, listener: &ListenerSpec) -> Service {
    let name = input.names().listener_bootstrap_service(&listener.name);
    let port = ServicePort { node_port: listener.node_port, ..port(&listener.name, listener.port) };
    external(input, listener, name, port, labels(input.names().cluster), false)
}

/// A client that knows a broker keeps reaching it, ready or not.
fn listener_broker(input: &ClusterInput<'_>, listener: &ListenerSpec, id: i32) -> Service {
    let names = input.names();
    let mut selector = labels(names.cluster);
    selector.insert(POD_NAME_LABEL.into(), names.pod(id));
    let name = names.listener_broker_service(&listener.name, id);
    // Clients know the port that the broker binds: it changes with the pod, not with the spec.
    let bound = input.facts.brokers.get(&id).map(|known| bound_port(listener, known));
    let port = port(&listener.name, bound.unwrap_or(listener.port));
    let port = ServicePort { node_port: listener.node_port_of(id), ..port };
    external(input, listener, name, port, selector, true)
}

fn external(
    input: &ClusterInput<'_>,
    listener: &ListenerSpec,
    name: String,
    port: ServicePort,
    selector: BTreeMap<String, String>,
    not_ready: bool,
) -> Service {
    let spec = ServiceSpec {
        type_: Some(listener.kind.as_str().into()),
        selector: Some(selector),
        load_balancer_class: listener.load_balancer_class.clone(),
        publish_not_ready_addresses: not_ready.then_some(true),
        ..spec(input, vec![port])
    };
    service(input, name, listener.annotations.clone(), spec)
}

/// It leads to the port of that name, which each pod has where its broker binds it: a changed
/// number interrupts no broker that is not restarted yet.
fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: number,
        target_port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}

fn spec(input: &ClusterInput<'_>, ports: Vec<ServicePort>) -> ServiceSpec {
    ServiceSpec {
        selector: Some(labels(input.names().cluster)),
        ports: Some(ports),
        ..ServiceSpec::default()
    }
}

fn service(
    input: &ClusterInput<'_>,
    name: String,
    annotations: BTreeMap<String, String>,
    spec: ServiceSpec,
) -> Service {
    let mut metadata = object_meta(input, name);
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    Service { metadata, spec: Some(spec), ..Service::default() }
}
