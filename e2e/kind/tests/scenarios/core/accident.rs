//! A broker that is gone from one moment to the next.

use kind_e2e::{GAP_KILLED, scenario};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn pod_killed() {
    scenario("pod-killed", async |s| {
        let load = s.castle(3, "").await?;
        let before = s.broker_pods("castle").await?;
        s.kill_pod("castle-broker-1")?;
        let replaced = async || {
            let now = s.broker_pods("castle").await?;
            let uid = now.get("castle-broker-1");
            Ok(uid.is_some() && uid != before.get("castle-broker-1"))
        };
        s.eventually("there is a new pod", kind_e2e::CREATE, replaced).await?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        load.more(500).await?;
        load.stop(GAP_KILLED).await?;
        Ok(())
    });
}
