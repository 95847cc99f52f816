//! Kubernetes' own autoscaler decides how many brokers there are.

use kind_e2e::{GAP_CALM, STEP, scenario};

/// As many brokers as the metric says, from three to five.
const AUTOSCALER: &str = "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: castle
spec:
  scaleTargetRef: {apiVersion: barnabas.dev/v1alpha1, kind: KafkaCluster, name: castle}
  minReplicas: 3
  maxReplicas: 5
  metrics:
  - type: External
    external:
      metric: {name: brokers_wanted}
      target: {type: AverageValue, averageValue: \"1\"}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 0}
";

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn grows_and_shrinks() {
    scenario("autoscaler", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        let metric = s.metric(4).await?;
        s.apply(AUTOSCALER)?;
        s.cluster_ready("castle", 4).await?;
        s.spread_over(&load, "orders", &[0, 1, 2, 3]).await?;

        metric.set(2).await?;
        // No fewer than the autoscaler's minimum.
        s.cluster_ready("castle", 3).await?;
        s.spread_over(&load, "orders", &[0, 1, 2]).await?;
        let counts = "jsonpath={.status.currentReplicas} {.status.desiredReplicas}";
        let settled = async || Ok(s.kubectl(&["get", "hpa", "castle", "-o", counts])? == "3 3");
        s.eventually("the autoscaler sees three brokers and wants three", STEP, settled).await?;
        s.assert_rolled("castle", &pods, false).await?;
        load.stop(GAP_CALM).await?;
        Ok(())
    });
}
