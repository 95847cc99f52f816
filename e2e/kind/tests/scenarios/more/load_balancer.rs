//! Clients outside Kubernetes reach each broker through a load balancer of its own.

use kind_e2e::{GAP_CALM, scenario, yaml};

/// Addresses come when the balancer gives them, long after the brokers have started, and no broker
/// restarts for its address.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn per_broker_addresses() {
    scenario("load-balancer", async |s| {
        s.install_operator(&[]).await?;
        s.apply(&yaml::sample("cloud/loadbalancer.yaml")?)?;
        let topics = ["orders", "visited"].map(|name| yaml::topic(name, "bridge", 3, 3));
        s.apply(&yaml::documents(&[&topics[0], &topics[1]]))?;
        s.topic_ready("orders").await?;
        s.topic_ready("visited").await?;
        s.cluster_says("bridge", "no load balancer was given to its Services yet").await?;
        let pods = s.broker_pods("bridge").await?;

        let mut balancer = s.balancer()?;
        balancer.serve().await?;
        let bootstrap = s.addresses("bridge", "outside", 3).await?;
        s.cluster_ready("bridge", 3).await?;
        let load = s.load_at(&bootstrap, "orders", 3).await?;
        s.produce_and_consume(&bootstrap, "visited")?;

        s.scale("bridge", 4)?;
        s.cluster_says("bridge", "outside has no address for brokers 3").await?;
        balancer.serve().await?;
        s.addresses("bridge", "outside", 4).await?;
        s.cluster_ready("bridge", 4).await?;
        s.spread_over(&load, "orders", &[0, 1, 2, 3]).await?;
        s.produce_and_consume(&bootstrap, "visited")?;
        s.assert_rolled("bridge", &pods, false).await?;
        load.stop(GAP_CALM).await?;
        Ok(())
    });
}
