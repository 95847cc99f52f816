//! What a failed scenario leaves behind, beside the logs that were followed.

use std::fs;

use crate::Scenario;
use crate::command::Tool;

/// File name and `kubectl` arguments, for each namespace.
const OF_NAMESPACE: &[(&str, &[&str])] = &[
    ("resources.yaml", &["get", "kafkaclusters,topics", "-o", "yaml"]),
    (
        "objects.yaml",
        &["get", "statefulsets,deployments,services,pvc,pdb,configmaps,leases", "-o", "yaml"],
    ),
    ("pods.txt", &["get", "pods", "-o", "wide"]),
    ("pods-described.txt", &["describe", "pods"]),
    ("events.txt", &["get", "events", "--sort-by=.lastTimestamp"]),
];

impl Scenario {
    /// Best effort: a failure to explain the failure is only named.
    pub(crate) fn keep(&self, error: &anyhow::Error) {
        self.say(format!("FAILED: {error:#}"));
        let _ = fs::write(self.logs.join("error.txt"), format!("{error:#}\n"));
        for namespace in [&self.namespace, &self.home] {
            for (file, arguments) in OF_NAMESPACE {
                let all = [&["--namespace", namespace.as_str()][..], arguments].concat();
                self.keep_output(&format!("{namespace}.{file}"), &all);
            }
        }
        self.keep_output("nodes.txt", &["describe", "nodes"]);
        self.say(format!("kept in {}", self.logs.display()));
    }

    fn keep_output(&self, file: &str, arguments: &[&str]) {
        let text = Tool::Kubectl.run(arguments).unwrap_or_else(|error| format!("{error:#}\n"));
        let _ = fs::write(self.logs.join(file), text);
    }
}
