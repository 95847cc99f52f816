//! The negative control: what must never happen is done by hand, and the judge has to see it. A
//! judge that calls these runs clean proves nothing in the others.

use anyhow::{Context, Result, ensure};
use crd::Topic;
use kind_e2e::{CREATE, GAP_LOSS, GAP_ROLL, Report, Scenario, scenario, yaml};

/// What the judge holds against the run, by the widest of its limits; it must be this.
fn convicted(report: &Report, part: &str) -> Result<()> {
    let verdict = report.clean(GAP_LOSS).err().map(|error| format!("{error:#}"));
    let verdict = verdict.context("the judge calls a run clean that was not")?;
    ensure!(verdict.contains(part), "\"{part}\" is not what the judge says: {verdict}");
    println!("the judge says: {verdict}");
    Ok(())
}

/// Two of three brokers are taken at once, as by an operator that asks nobody: no write is taken
/// until one is back, which Kubernetes lets wait for ten seconds the second time. Nothing that was
/// acknowledged is lost.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn two_at_once() {
    scenario("control-two-at-once", async |s| {
        let load = s.castle(3, "").await?;
        for _ in 0..2 {
            both_crash(s).await?;
        }
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        load.more(500).await?;
        let report = load.end().await?;
        report.safe()?;
        convicted(&report, "a partition took no write for")
    });
}

async fn both_crash(s: &Scenario) -> Result<()> {
    let both = ["castle-broker-0", "castle-broker-1"];
    let before = both.map(|pod| s.restarts(pod).unwrap_or_default());
    for pod in both {
        s.crash_broker(pod)?;
    }
    let again = async || {
        let now = both.map(|pod| s.restarts(pod).unwrap_or_default());
        Ok(now.iter().zip(before).all(|(now, before)| *now > before))
    };
    s.eventually("both are started again", CREATE, again).await
}

/// The log is taken away under the load, and an empty one put in its place.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn records_lost() {
    scenario("control-records-lost", async |s| {
        let load = s.castle(3, "").await?;
        let doomed = yaml::topic("doomed", "castle", 3, 3) + "  deletionPolicy: Delete\n";
        s.apply(&doomed)?;
        s.topic_ready("doomed").await?;
        let victim = s.load("castle", "doomed", 3).await?;
        victim.more(500).await?;
        s.kubectl(&["delete", "topic", "doomed", "--timeout=60s"])?;
        s.gone::<Topic>("doomed", CREATE).await?;
        s.apply(&doomed)?;
        s.topic_ready("doomed").await?;
        let report = victim.end().await?;
        ensure!(report.safe().is_err(), "{report:#?}");
        convicted(&report, "lost")?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
