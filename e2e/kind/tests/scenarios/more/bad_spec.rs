//! Specs that cannot work: they cost at most one broker, are named in status, and a repaired spec
//! heals without further help.

use anyhow::{Result, ensure};
use kind_e2e::{GAP_ROLL, Load, Scenario, scenario};

const IMAGE: (&str, &str) =
    (r#"{"spec": {"image": "localhost/barnabas/broker:absent"}}"#, r#"{"spec": {"image": null}}"#);
const NOWHERE: (&str, &str) = (
    r#"{"spec": {"brokers": {"podTemplate": {"nodeSelector": {"disk": "none"}}}}}"#,
    r#"{"spec": {"brokers": {"podTemplate": {"nodeSelector": null}}}}"#,
);

async fn breaks_and_heals(s: &Scenario, load: &Load<'_>, edit: (&str, &str)) -> Result<()> {
    let before = s.broker_pods("castle").await?;
    s.patch("kafkacluster/castle", edit.0)?;
    s.cluster_in("castle", crd::Phase::Degraded).await?;
    load.more(1000).await?;
    let now = s.broker_pods("castle").await?;
    let replaced = before.iter().filter(|(pod, uid)| now.get(*pod) != Some(uid)).count();
    ensure!(replaced == 1, "{replaced} brokers were taken down by a spec that cannot work");
    s.patch("kafkacluster/castle", edit.1)?;
    s.cluster_ready("castle", 3).await?;
    load.more(500).await
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn bad_specs() {
    scenario("bad-specs", async |s| {
        let load = s.castle(3, "").await?;
        s.say("an image that does not exist");
        breaks_and_heals(s, &load, IMAGE).await?;
        s.say("a node that does not exist");
        breaks_and_heals(s, &load, NOWHERE).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
