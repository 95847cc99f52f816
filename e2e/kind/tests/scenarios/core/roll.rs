//! Changes of a spec under load: what brokers can take while they run does not restart them, and
//! what restarts them costs nobody a record.

use anyhow::Result;
use kind_e2e::{GAP_ROLL, Load, ROLLED, STEP, scenario};

/// Until every broker works with this value.
async fn works_with(s: &kind_e2e::Scenario, load: &Load<'_>, key: &str, value: &str) -> Result<()> {
    let what = format!("{key} is {value} on every broker");
    let look = async || {
        for broker in 0..3 {
            if load.config(broker, key).await? != value {
                return Ok(false);
            }
        }
        Ok(true)
    };
    s.eventually(&what, STEP, look).await
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn roll() {
    scenario("roll", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;

        s.say("a key that a running broker takes");
        s.patch("kafkacluster/castle", r#"{"spec": {"config": {"log.retention.ms": 7200000}}}"#)?;
        s.cluster_ready("castle", 3).await?;
        works_with(s, &load, "log.retention.ms", "7200000").await?;
        s.assert_rolled("castle", &pods, false).await?;

        s.say("a key that is read at the start");
        let patch = r#"{"spec": {"config": {"broker.heartbeat.interval.ms": 1500}}}"#;
        s.patch("kafkacluster/castle", patch)?;
        s.cluster_ready_within("castle", 3, ROLLED).await?;
        works_with(s, &load, "broker.heartbeat.interval.ms", "1500").await?;
        s.assert_rolled("castle", &pods, true).await?;

        s.say("another image");
        let pods = s.broker_pods("castle").await?;
        s.patch("kafkacluster/castle", r#"{"spec": {"image": "localhost/barnabas/broker:next"}}"#)?;
        s.cluster_ready_within("castle", 3, ROLLED).await?;
        s.assert_rolled("castle", &pods, true).await?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
