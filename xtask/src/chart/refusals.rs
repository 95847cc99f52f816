//! Values that the chart must refuse, each with what it must say about them.

use anyhow::Result;

use super::helm::Helm;

const REFUSED: &[(&str, &str)] = &[
    ("replica=1", "replica"),
    ("replicas=-1", "replicas"),
    ("replicas=two", "replicas"),
    ("replicas=2,leaderElection.enabled=false", "several replicas need leaderElection.enabled"),
    ("watchNamespaces=default", "watchNamespaces"),
    ("operatorClass=Team_A", "operatorClass"),
    ("watchNamespaces={Team_A}", "watchNamespaces"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("image.digest=sha256:1234", "digest"),
    ("image.repository=", "repository"),
    ("log.format=xml", "format"),
    ("crds.enabled=maybe", "crds"),
    ("rbac.global=sometimes", "global"),
    ("podMonitor.interval=often", "interval"),
    ("prometheusRule.disabled={Watchdog}", "disabled"),
    ("tests.bootstrap=nowhere", "bootstrap"),
    ("resources.limit.memory=1Gi", "limit"),
];

pub fn check(helm: &Helm) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (values, says) in REFUSED {
        let output = helm.try_template(&["--set", values])?;
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            wrong.push(format!("--set {values} is taken"));
        } else if !error.contains(says) {
            wrong.push(format!("--set {values} is refused without a word on {says}: {error}"));
        }
    }
    Ok(wrong)
}
