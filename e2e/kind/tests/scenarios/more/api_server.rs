//! The API server is away for a minute. Brokers do not need it, and the operator goes on where it
//! was when it is back.

use std::time::Duration;

use anyhow::{Result, ensure};
use crd::Phase;
use kind_e2e::{GAP_ROLL, STEP, Scenario, scenario};

use super::shrink::SLOW;

/// Time is what is tested here, so this does wait for it to pass.
const AWAY: Duration = Duration::from_secs(60);

/// Without the API server an operator loses its Lease and ends, to be started again; what it
/// complains of meanwhile is no finding.
async fn away(s: &Scenario) -> Result<()> {
    s.allow_operator_restarts();
    s.allow_warning("");
    let hanging = s.api_server_hangs()?;
    tokio::time::sleep(AWAY).await;
    drop(hanging);
    let answers = async || Ok(s.kubectl(&["get", "kafkaclusters", "--request-timeout=5s"]).is_ok());
    s.eventually("the API server answers", STEP, answers).await
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn away_in_a_roll() {
    scenario("api-away-in-a-roll", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        s.kubectl(&["annotate", "kafkacluster", "castle", "barnabas.dev/restart=now"])?;
        s.cluster_in("castle", Phase::Rolling).await?;
        away(s).await?;
        let all_new = async || Ok(s.assert_rolled("castle", &pods, true).await.is_ok());
        s.eventually("all brokers are replaced", STEP, all_new).await?;
        s.cluster_ready("castle", 3).await?;
        load.in_sync("orders", 3).await?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn away_in_a_drain() {
    scenario("api-away-in-a-drain", async |s| {
        let load = s.castle(4, SLOW).await?;
        load.more(5000).await?;
        s.scale("castle", 3)?;
        s.cluster_says("castle", "draining").await?;
        let hosts = load.hosts("orders").await?;
        ensure!(hosts.contains(&3), "the drain was over before the API server went: {hosts:?}");
        away(s).await?;
        s.cluster_ready("castle", 3).await?;
        s.spread_over(&load, "orders", &[0, 1, 2]).await?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
