//! Processes that end again and again, and serve in between.

use anyhow::Result;
use crd::Phase;
use kind_e2e::{GAP_KILLED, Load, ROLLED, STEP, Scenario, scenario};

/// What mends it, as a user would think.
const FIX: &str = r#"{"spec": {"brokers": {"resources": {"requests": {"cpu": "110m"}}}}}"#;

/// All brokers crash now and then, so that each is in Kubernetes' eyes crashing; then comes the
/// fix. Between its crashes each of them is needed, and none is replaced at another's cost.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn all_now_and_then() {
    scenario("all-crash", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        for _ in 0..3 {
            for broker in 0..3 {
                crashed(s, &load, broker).await?;
            }
        }
        s.say("and once more, and the fix comes while that one is away");
        s.crash_broker("castle-broker-1")?;
        s.cluster_in("castle", Phase::Degraded).await?;
        s.cluster_says("castle", "broker 1 crashes again and again").await?;
        s.patch("kafkacluster/castle", FIX)?;
        s.cluster_ready_within("castle", 3, ROLLED).await?;
        s.assert_rolled("castle", &pods, true).await?;
        load.more(500).await?;
        load.stop(GAP_KILLED).await?;
        Ok(())
    });
}

/// Ends a broker's process, and waits until it is back and everything is in sync: Kubernetes waits
/// longer each time before it starts it again.
async fn crashed(s: &Scenario, load: &Load<'_>, broker: i32) -> Result<()> {
    let pod = format!("castle-broker-{broker}");
    let before = s.restarts(&pod)?;
    s.crash_broker(&pod)?;
    let again = async || Ok(s.restarts(&pod)? > before);
    s.eventually(&format!("{pod} is started again"), STEP, again).await?;
    load.in_sync("orders", 3).await
}
