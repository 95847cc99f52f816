//! Deleting a namespace with everything in it must end, finalizers or not, and must not be felt by
//! clusters elsewhere.

use anyhow::Result;
use kind_e2e::{GAP_ROLL, STEP, Scenario, Tool, scenario, yaml};

/// The operator looks after all namespaces; one of them goes while another is written to.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn neighbour_deleted() {
    scenario("neighbour-deleted", async |s| {
        let load = s.castle(3, "").await?;
        s.install_plain(&[])?;
        let pods = s.broker_pods("castle").await?;
        let doomed = format!("{}-doomed", s.namespace);
        Tool::Kubectl.run(&["create", "namespace", &doomed])?;
        let lived = neighbour(s, &doomed);
        let ended = Tool::Kubectl.run(&["delete", "namespace", &doomed, "--timeout=120s"]);
        lived?;
        ended?;
        load.more(500).await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// A cluster and a Topic with a finalizer, both ready.
fn neighbour(s: &Scenario, namespace: &str) -> Result<()> {
    let topic = yaml::topic("orders", "tower", 3, 1) + "  deletionPolicy: Delete\n";
    let all = yaml::documents(&[&yaml::single("tower"), &topic]);
    Tool::Kubectl.with_input(&["--namespace", namespace, "apply", "-f", "-"], &all)?;
    for object in ["kafkacluster/tower", "topic/orders"] {
        let how = ["--for=condition=Ready", "--timeout=180s", "--namespace", namespace];
        Tool::Kubectl.run(&[&["wait", object][..], &how].concat())?;
    }
    s.say(format!("a cluster in {namespace} is ready"));
    Ok(())
}

/// The only namespace that is looked after goes, and with it all rights of the operator.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn namespace_deleted() {
    scenario("namespace-deleted", async |s| {
        s.install_operator(&[]).await?;
        let topic = yaml::topic("orders", "castle", 3, 3) + "  deletionPolicy: Delete\n";
        s.apply(&yaml::documents(&[&yaml::cluster("castle", 3), &topic]))?;
        s.cluster_ready("castle", 3).await?;
        s.topic_ready("orders").await?;
        // What was acknowledged until then is judged: the log is gone with its namespace.
        let load = s.load("castle", "orders", 3).await?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Tool::Kubectl.run(&["delete", "namespace", &s.namespace, "--timeout=120s"])?;
        Ok(())
    });
}

/// Everything is in one namespace: the operator goes before the Topics, and must not leave them
/// behind with a finalizer that nobody takes off.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn own_namespace_deleted() {
    scenario("own-namespace-deleted", async |s| {
        // The definitions first: another release has them, and outlives the namespace.
        s.install_operator(&[]).await?;
        let own = format!("{}-own", s.namespace);
        Tool::Kubectl.run(&["create", "namespace", &own])?;
        s.install_at(&own, &["crds.enabled=false", &format!("watchNamespaces={{{own}}}")])?;
        let lived = neighbour(s, &own);
        let ended = Tool::Kubectl.run(&["delete", "namespace", &own, "--timeout=120s"]);
        lived?;
        ended?;
        Ok(())
    });
}

/// One of the namespaces that are named goes, with the Role in it, and later the operator starts
/// anew: the others are looked after, and the metric names the one that is gone.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn vanished_before_a_restart() {
    scenario("namespace-vanished", async |s| {
        let load = s.castle(3, "").await?;
        let doomed = s.another_namespace("doomed")?;
        let both = format!("watchNamespaces={{{},{doomed}}}", s.namespace);
        s.install_operator(&[&both]).await?;
        neighbour(s, &doomed)?;
        let pods = s.broker_pods("castle").await?;
        Tool::Kubectl.run(&["delete", "namespace", &doomed, "--timeout=120s"])?;

        // What it has not yet taken in of the namespace's end it says of that one alone.
        s.allow_warning(&doomed);
        s.kill_operator().await?;
        s.apply(&(yaml::topic("later", "castle", 2, 3) + "  deletionPolicy: Delete\n"))?;
        s.topic_ready("later").await?;
        s.kubectl(&["delete", "topic", "later", "--timeout=60s"])?;
        s.patch("kafkacluster/castle", r#"{"spec": {"config": {"log.retention.ms": 7200000}}}"#)?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;

        for (namespace, failing) in [(&doomed, 1.0), (&s.namespace, 0.0)] {
            for kind in ["KafkaCluster", "Topic"] {
                let labels = format!("{{kind=\"{kind}\",namespace=\"{namespace}\"}}");
                let metric = format!("barnabas_operator_watch_failing{labels}");
                let told = async || Ok(s.operator_metric(&metric).await? == failing);
                s.eventually(&format!("{metric} is {failing}"), STEP, told).await?;
            }
        }
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
