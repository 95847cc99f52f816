//! What a failed scenario leaves behind, beside the logs that were followed. It is taken before
//! anything is healed or removed, and nothing that does not answer is waited for long.

use std::fs;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::Scenario;
use crate::command::Tool;
use crate::http::Target;

/// File name and `kubectl` arguments, for each namespace.
const OF_NAMESPACE: &[(&str, &[&str])] = &[
    ("resources.yaml", &["get", "kafkaclusters,topics", "-o", "yaml"]),
    (
        "objects.yaml",
        &[
            "get",
            "statefulsets,deployments,services,endpointslices,pvc,pdb,configmaps,leases,\
             networkpolicies",
            "-o",
            "yaml",
        ],
    ),
    ("pods.txt", &["get", "pods", "-o", "wide"]),
    ("pods-described.txt", &["describe", "pods"]),
    ("events.txt", &["get", "events", "--sort-by=.lastTimestamp"]),
];

/// The same of the cluster: what else ran, and what its nodes were busy with.
const OF_CLUSTER: &[(&str, &[&str])] = &[
    ("nodes.txt", &["describe", "nodes"]),
    ("volumes.txt", &["describe", "persistentvolumes"]),
    ("all-pods.txt", &["get", "pods", "--all-namespaces", "-o", "wide"]),
    ("all-events.txt", &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]),
];

/// What pods say of themselves: their labels, port and path.
const TOLD: &[(&str, u16, &str)] = &[
    ("app=load", crate::load::PORT, "report"),
    ("app.kubernetes.io/component=broker", crd::HTTP_PORT as u16, "metrics"),
    ("app.kubernetes.io/component=operator", crate::operator::HTTP_PORT, "metrics"),
];

/// Logs of a node: those that are built here write files, stock ones a journal.
const OF_NODE: &[&str] = &["kubelet", "containerd"];

/// The longest wait for what may be the very thing that does not answer.
const ANSWER: Duration = Duration::from_secs(10);

impl Scenario {
    /// Best effort: a failure to explain the failure is only named.
    pub(crate) async fn keep(&self, error: &anyhow::Error) {
        self.say(format!("FAILED: {error:#}"));
        let _ = fs::write(self.logs.join("error.txt"), format!("{error:#}\n"));
        for namespace in [&self.namespace, &self.home] {
            self.keep_told(namespace).await;
            for (file, arguments) in OF_NAMESPACE {
                let all = [&["--namespace", namespace.as_str()][..], arguments].concat();
                self.keep_output(&format!("{namespace}.{file}"), &all);
            }
        }
        for (file, arguments) in OF_CLUSTER {
            self.keep_output(file, arguments);
        }
        self.keep_nodes();
        self.say(format!("kept in {}", self.logs.display()));
    }

    fn keep_output(&self, file: &str, arguments: &[&str]) {
        let all = [&["--request-timeout=20s"][..], arguments].concat();
        self.keep_text(file, Tool::Kubectl.run(&all));
    }

    fn keep_text(&self, file: &str, text: anyhow::Result<String>) {
        let text = text.unwrap_or_else(|error| format!("{error:#}\n"));
        let _ = fs::write(self.logs.join(file), text);
    }

    async fn keep_told(&self, namespace: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        for (labels, port, path) in TOLD {
            let labels = ListParams::default().labels(labels);
            let Ok(Ok(pods)) = tokio::time::timeout(ANSWER, pods.list(&labels)).await else {
                continue;
            };
            for pod in pods {
                let pod = pod.name_any();
                let target = Target { client: &self.client, namespace, pod: &pod, port: *port };
                let text = tokio::time::timeout(ANSWER, target.get(path)).await;
                let text = text.unwrap_or_else(|late| Err(late.into()));
                self.keep_text(&format!("{pod}.{path}.txt"), text);
            }
        }
    }

    /// By the engine, which knows nodes that the API server does not hear of any more.
    fn keep_nodes(&self) {
        let of_bed = format!("label=io.x-k8s.kind.cluster={}", self.bed);
        let names = ["ps", "--all", "--format", "{{.Names}}", "--filter", &of_bed];
        let names = Tool::Docker.run(&names).unwrap_or_else(|error| {
            self.say(format!("cannot look at nodes: {error:#}"));
            String::new()
        });
        for node in names.lines() {
            let routes = Tool::Docker.run(&["exec", node, "ip", "route"]);
            self.keep_text(&format!("{node}.routes.txt"), routes);
            for log in OF_NODE {
                self.keep_log_of(node, log);
            }
        }
    }

    /// Of a stopped node by a copy of the file, which alone would fail while the file grows.
    fn keep_log_of(&self, node: &str, log: &str) {
        let file = format!("{node}.{log}.txt");
        let read = format!("cat /var/log/{log}.log || journalctl --no-pager --unit {log}");
        let text = Tool::Docker.run(&["exec", node, "sh", "-c", &read]);
        let (from, to) = (format!("{node}:/var/log/{log}.log"), self.logs.join(&file));
        let copy = || Tool::Docker.run(&["cp", &from, &to.to_string_lossy()]);
        if text.is_ok() || copy().is_err() {
            self.keep_text(&file, text);
        }
    }
}
