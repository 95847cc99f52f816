//! The network between zones.

use std::time::Duration;

use anyhow::Result;
use crd::{KafkaCluster, Phase};
use kind_e2e::{GAP_KILLED, STEP, Scenario, scenario};

/// Three probes of a pod that fail, and what a look at brokers may take.
const NOTICED: Duration = Duration::from_secs(30);

/// As long as the client waits for an answer to a write: it still reaches the old leader, which can
/// have nothing acknowledged.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The zone of the active controller is cut off from the two others, and clients see both sides:
/// the others elect a controller of their own and take every write, and what the old one is told
/// meanwhile is not acknowledged.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn cut_off_with_the_controller() {
    scenario("zone-cut-off", async |s| {
        let load = s.castle(3, "").await?;
        let controller = s.active_controller("castle").await?;
        let node = s.node_of(&format!("castle-broker-{controller}"))?;
        s.say(format!("broker {controller} is the active controller"));
        // The operator may be on either side, and asks brokers that do not answer.
        s.allow_warning("");
        s.allow_operator_restarts();
        s.cut_off(&node)?;
        let elected = async || {
            let active = s.active_controllers("castle").await?;
            Ok(active.iter().any(|id| *id != controller))
        };
        s.eventually("another controller is active", STEP, elected).await?;
        load.more(1000).await?;
        noticed(s).await?;
        s.mend_links()?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        load.more(500).await?;
        load.stop(ANSWER_MAX + GAP_KILLED).await?;
        Ok(())
    });
}

/// On the large side the operator misses a broker; on the small one it knows nothing and says that.
async fn noticed(s: &Scenario) -> Result<()> {
    let phase = |cluster: Option<&KafkaCluster>| cluster?.status.as_ref()?.phase;
    let is_noticed = |cluster: Option<&KafkaCluster>| {
        [Phase::Waiting, Phase::Unknown].map(Some).contains(&phase(cluster))
    };
    let found = s.until("castle", "not called ready", NOTICED, is_noticed).await?;
    let message = found.and_then(|cluster| cluster.status?.message);
    s.say(format!("the operator says: {}", message.unwrap_or_default()));
    Ok(())
}
