//! The load that a scenario runs under, in a pod on the control plane's node, which no scenario
//! takes away. What it measures and how it judges is in `load/`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use crate::Scenario;
use crate::http::Target;
use crate::wait::STEP;
use crate::yaml;

pub(crate) const PORT: u16 = 8080;
/// A pod of one small image on a busy machine.
const POD_START: Duration = Duration::from_secs(180);
/// Records per second.
const RATE: u64 = 150;
/// As long as a request to the load may fail before it counts as gone.
const REACH: Duration = Duration::from_secs(60);

/// A load that runs.
pub struct Load<'a> {
    scenario: &'a Scenario,
    pod: String,
}

/// What the load has counted. A record that is acknowledged must be read, once, in its order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub state: String,
    pub verdict: String,
    pub seconds: f64,
    pub sent: u64,
    pub acked: u64,
    pub failed: u64,
    pub waiting: u64,
    pub gap_ms: u64,
    pub gap_at: String,
    pub wait_p99_ms: f64,
    pub wait_max_ms: f64,
    pub group: Pass,
    pub log: Option<Pass>,
    /// Error codes of responses, e.g. `Produce NOT_LEADER_FOR_PARTITION`, with their number.
    pub codes: BTreeMap<String, u64>,
    pub failures: BTreeMap<String, u64>,
    /// Responses whose codes were read.
    pub answers: u64,
    /// Responses that could not be read: any error may have been in them.
    pub unparsed: u64,
}

/// One reading of the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    pub read: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub changed: u64,
    pub redelivered: u64,
    pub foreign: u64,
}

/// A partition as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Partition {
    pub partition: i32,
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

impl Scenario {
    /// What most scenarios begin with: the operator, a cluster `castle` with more of a spec, its
    /// topic `orders` of six partitions kept three times, and a load on it.
    pub async fn castle(&self, brokers: i32, more: &str) -> Result<Load<'_>> {
        self.castle_of(brokers, &yaml::cluster_with("castle", brokers, more)).await
    }

    /// The same with a cluster `castle` of one's own.
    pub async fn castle_of(&self, brokers: i32, cluster: &str) -> Result<Load<'_>> {
        self.install_operator(&[]).await?;
        self.apply(&yaml::documents(&[cluster, &yaml::topic("orders", "castle", 6, 3)]))?;
        self.cluster_ready("castle", brokers).await?;
        self.topic_ready("orders").await?;
        self.load("castle", "orders", 6).await
    }

    /// What scenarios with clients outside begin with: the operator, the cluster of
    /// `nodeport.yaml`, its topics `orders` and `visited`, and a load on the first by way of
    /// addresses outside, which are returned.
    pub async fn harbour(&self, visited: i32) -> Result<(String, Load<'_>)> {
        self.install_operator(&[]).await?;
        self.apply(&yaml::sample("nodeport.yaml")?)?;
        let visited = yaml::topic("visited", "harbour", visited, 3);
        self.apply(&yaml::documents(&[&yaml::topic("orders", "harbour", 3, 3), &visited]))?;
        self.cluster_ready("harbour", 3).await?;
        self.topic_ready("orders").await?;
        self.topic_ready("visited").await?;
        let bootstrap = self.addresses("harbour", "outside", 3).await?;
        let load = self.load_at(&bootstrap, "orders", 3).await?;
        Ok((bootstrap, load))
    }

    /// Starts the usual load on a topic of a cluster and waits until records are acknowledged and
    /// the group reads them.
    pub async fn load(&self, cluster: &str, topic: &str, partitions: u32) -> Result<Load<'_>> {
        let bootstrap = format!("{cluster}-bootstrap.{}.svc:9092", self.namespace);
        self.load_at(&bootstrap, topic, partitions).await
    }

    /// The same by way of these bootstrap servers.
    pub async fn load_at(&self, at: &str, topic: &str, partitions: u32) -> Result<Load<'_>> {
        // Two loads of one scenario differ in their topic.
        let pod = format!("load-{}", topic.replace(['.', '_'], "-"));
        let arguments = [
            "run".to_owned(),
            format!("--bootstrap={at}"),
            format!("--topic={topic}"),
            format!("--group={pod}"),
            format!("--partitions={partitions}"),
            format!("--rate={RATE}"),
        ];
        self.load_pod(&pod, &arguments).await?;
        let load = Load { scenario: self, pod };
        load.more(RATE).await?;
        Ok(load)
    }

    /// Runs the load's program with these arguments.
    pub(crate) async fn load_pod(&self, pod: &str, arguments: &[String]) -> Result<()> {
        self.apply(&manifest(pod, arguments))?;
        let running = |pod: Option<&Pod>| {
            let status = pod.and_then(|pod| pod.status.as_ref());
            status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
        };
        self.until::<Pod>(pod, "running", POD_START, running).await.map(drop)
    }
}

impl Load<'_> {
    pub async fn report(&self) -> Result<Report> {
        let text = self.target().get("report").await?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Waits until so many more records are acknowledged, and the group has read as many.
    pub async fn more(&self, records: u64) -> Result<()> {
        let report =
            self.scenario.retried("the load's report", REACH, async || self.report().await);
        let before = report.await?;
        let what = format!("{records} more records through");
        let through = async || {
            let now = self.report().await?;
            ensure!(now.state == "running", "{now:?}");
            Ok(now.acked >= before.acked + records && now.group.read >= before.group.read + records)
        };
        self.scenario.eventually(&what, STEP, through).await
    }

    /// What the cluster tells its clients about a topic.
    pub async fn topic(&self, name: &str) -> Result<Vec<Partition>> {
        let text = self.target().get(&format!("topics/{name}")).await?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Waits until every partition of a topic has that many replicas in sync, and no others.
    pub async fn in_sync(&self, topic: &str, replicas: usize) -> Result<()> {
        let look = async || {
            let partitions = self.topic(topic).await?;
            Ok(partitions.iter().all(|p| p.isr.len() == replicas && p.replicas.len() == replicas))
        };
        let what = format!("{topic} has {replicas} replicas, all in sync");
        self.scenario.eventually(&what, STEP, look).await
    }

    /// The value that a broker works with.
    pub async fn config(&self, broker: i32, key: &str) -> Result<String> {
        let text = self.target().get(&format!("brokers/{broker}/config/{key}")).await?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Ends the load and returns its verdict, which must be clean: nothing lost, duplicated,
    /// reordered or given up, no write refused for want of replicas, and no partition longer
    /// without an acknowledgement than the gap.
    pub async fn stop(self, gap_max: Duration) -> Result<Report> {
        let report = self.end().await?;
        let clean = report.clean(gap_max);
        clean.with_context(|| format!("{report:#?}"))?;
        Ok(report)
    }

    /// Ends the load and returns what it found, whatever that is.
    pub async fn end(self) -> Result<Report> {
        // Told twice, it stops once.
        let stop = async || self.target().post("stop").await;
        self.scenario.retried("stopping the load", REACH, stop).await?;
        let mut last = None;
        let done = async || {
            let report = self.report().await?;
            let done = report.state == "done";
            last = Some(report);
            Ok(done)
        };
        self.scenario.eventually("the load's verdict", STEP, done).await?;
        let report = last.context("a verdict was read")?;
        self.scenario.say(format!(
            "load: {} acknowledged in {:.0} s, {} redelivered to the group, longest gap {} ms, \
             wait p99 {:.0} ms, codes {:?}",
            report.acked,
            report.seconds,
            report.group.redelivered,
            report.gap_ms,
            report.wait_p99_ms,
            report.codes,
        ));
        self.scenario.kubectl(&["delete", "pod", &self.pod, "--wait=false"])?;
        Ok(report)
    }

    fn target(&self) -> Target<'_> {
        let (client, namespace) = (&self.scenario.client, self.scenario.namespace.as_str());
        Target { client, namespace, pod: &self.pod, port: PORT }
    }
}

impl Report {
    /// Everything that a planned operation must keep.
    pub fn clean(&self, gap_max: Duration) -> Result<()> {
        self.safe()?;
        self.sees()?;
        let short = self.codes.iter().find(|(code, _)| code.contains("NOT_ENOUGH_REPLICAS"));
        ensure!(short.is_none(), "writes were refused: {short:?}");
        self.gap_within(gap_max)
    }

    /// What even an accident must keep: nothing lost, duplicated, reordered or given up.
    pub fn safe(&self) -> Result<()> {
        ensure!(self.verdict == "ok", "{}", self.verdict);
        ensure!(
            self.failed == 0,
            "the client gave {} records up: {:?}",
            self.failed,
            self.failures
        );
        Ok(())
    }

    /// Whether a refused write would have been noticed: the client says nothing of most.
    fn sees(&self) -> Result<()> {
        let (answers, unparsed) = (self.answers, self.unparsed);
        let sees = answers > 0 && unparsed == 0;
        ensure!(
            sees,
            "{unparsed} answers could not be read, {answers} were: refusals may be hidden"
        );
        Ok(())
    }

    pub fn gap_within(&self, gap_max: Duration) -> Result<()> {
        let gap = Duration::from_millis(self.gap_ms);
        ensure!(gap <= gap_max, "a partition took no write for {gap:?} until {}", self.gap_at);
        Ok(())
    }
}

fn manifest(pod: &str, arguments: &[String]) -> String {
    let arguments = arguments.iter().map(|argument| format!("    - {argument}\n"));
    let arguments = arguments.collect::<String>();
    format!(
        "\
apiVersion: v1
kind: Pod
metadata:
  name: {pod}
  labels: {{app: load, pod: {pod}}}
spec:
  nodeSelector: {{node-role.kubernetes.io/control-plane: \"\"}}
  tolerations: [{{operator: Exists}}]
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    seccompProfile: {{type: RuntimeDefault}}
  containers:
  - name: load
    image: barnabas/load:dev
    imagePullPolicy: Never
    args:
{arguments}    ports: [{{containerPort: {PORT}}}]
    resources: {{requests: {{cpu: 200m}}}}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {{drop: [ALL]}}
"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn report(verdict: &str, gap_ms: u64, code: &str) -> Report {
        let pass = serde_json::json!({
            "read": 1, "lost": 0, "duplicated": 0, "reordered": 0, "changed": 0,
            "redelivered": 0, "foreign": 0,
        });
        let report = serde_json::json!({
            "state": "done", "verdict": verdict, "seconds": 1.5, "sent": 1, "acked": 1,
            "failed": 0, "waiting": 0, "gapMs": gap_ms, "gapAt": "", "waitP99Ms": 2.5,
            "waitMaxMs": 3.0, "group": pass, "log": null, "codes": {code: 1}, "failures": {},
            "answers": 1, "unparsed": 0,
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn a_report_is_clean_only_without_loss_refusals_and_long_gaps() {
        let limit = Duration::from_secs(1);
        assert!(report("ok", 900, "Produce NOT_LEADER_FOR_PARTITION").clean(limit).is_ok());
        assert!(report("the log: 1 lost", 0, "x").clean(limit).is_err());
        assert!(report("ok", 1001, "x").clean(limit).is_err());
        let refused = report("ok", 0, "Produce NOT_ENOUGH_REPLICAS_AFTER_APPEND");
        assert!(refused.clean(limit).is_err());
        assert!(refused.safe().is_ok());
        let blind = [
            Report { answers: 0, ..report("ok", 0, "x") },
            Report { unparsed: 1, ..report("ok", 0, "x") },
        ];
        assert!(blind.iter().all(|report| report.clean(limit).is_err() && report.safe().is_ok()));
    }
}
