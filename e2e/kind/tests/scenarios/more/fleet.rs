//! Three clusters of one operator, which comes in another version, and goes back.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kind_e2e::{GAP_ROLL, Load, STEP, Scenario, scenario, yaml};
use kube::ResourceExt;
use kube::api::ListParams;

const NAMES: [&str; 3] = ["castle", "keep", "tower"];
/// They follow the operator's image.
const AUTO: &str = "  upgradePolicy: Auto\n";

/// The new operator has another image of brokers: clusters take it one after the other, each broker
/// by broker, and go back to the old one in the same way.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn upgraded_and_back() {
    scenario("fleet", async |s| {
        // A cluster of one broker is away while that restarts.
        s.allow_warning("brokers do not answer");
        let load = s.castle(3, AUTO).await?;
        let mut visitors = Vec::new();
        for name in &NAMES[1..] {
            let topic = yaml::topic(&format!("of-{name}"), name, 3, 1);
            s.apply(&yaml::documents(&[&(yaml::single(name) + AUTO), &topic]))?;
            s.cluster_ready(name, 1).await?;
            s.topic_ready(&format!("of-{name}")).await?;
            visitors.push(s.load(name, &format!("of-{name}"), 3).await?);
        }
        let next = ["brokerImage.tag=next", "podAnnotations.release=next"];
        moved(s, &next, "next").await?;
        load.more(500).await?;
        s.say("and back");
        moved(s, &[], "dev").await?;
        load.more(500).await?;
        for visitor in visitors {
            judged(visitor).await?;
        }
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// One broker alone is away while it restarts; that is all.
async fn judged(load: Load<'_>) -> Result<()> {
    load.more(500).await?;
    load.end().await?.safe()
}

/// Upgrades the operator, and looks on until all clusters run the image.
async fn moved(s: &Scenario, values: &[&str], tag: &str) -> Result<()> {
    let (begun, mut most) = (Instant::now(), 0);
    s.install_operator(values).await?;
    let all = async || {
        let states = states(s, tag).await?;
        let under_way = states.values().filter(|state| **state == State::UnderWay).count();
        most = most.max(under_way);
        ensure!(most <= 1, "{under_way} clusters are rolled at a time: {states:?}");
        Ok(states.values().all(|state| *state == State::Moved))
    };
    let all = s.eventually(&format!("all clusters run {tag}"), STEP, all).await;
    ensure!(most <= 1, "{most} clusters were rolled at a time");
    all?;
    for (name, brokers) in NAMES.iter().zip([3, 1, 1]) {
        s.cluster_ready(name, brokers).await?;
    }
    s.say(format!("three clusters moved to {tag} in {:.1?}", begun.elapsed()));
    Ok(())
}

/// How far a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    UnderWay,
    Moved,
}

/// Of each cluster, all at one moment.
async fn states(s: &Scenario, tag: &str) -> Result<BTreeMap<&'static str, State>> {
    let brokers = ListParams::default().labels("app.kubernetes.io/component=broker");
    let pods = s.api::<Pod>().list(&brokers).await?.items;
    let state = |(name, brokers): (&'static str, usize)| {
        let ready = pods.iter().filter(|pod| {
            let cluster = pod.labels().get("barnabas.dev/cluster");
            cluster.is_some_and(|cluster| cluster == name) && is_ready(pod)
        });
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = ready.partition(|pod| runs(pod, tag));
        let state = match (new.len(), old.len()) {
            (0, old) if old == brokers => State::Before,
            (new, 0) if new == brokers => State::Moved,
            _ => State::UnderWay,
        };
        (name, state)
    };
    Ok(NAMES.into_iter().zip([3, 1, 1]).map(state).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn runs(pod: &Pod, tag: &str) -> bool {
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.as_deref());
    image.is_some_and(|image| image.ends_with(&format!(":{tag}")))
}
