//! Deleting a namespace with everything in it must end, finalizers or not.

use kind_e2e::{scenario, yaml};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn namespace_deleted() {
    scenario("namespace-deleted", async |s| {
        s.install_operator(&[]).await?;
        let topic = yaml::topic("orders", "castle", 3, 3) + "  deletionPolicy: Delete\n";
        s.apply(&yaml::documents(&[&yaml::cluster("castle", 3), &topic]))?;
        s.cluster_ready("castle", 3).await?;
        s.topic_ready("orders").await?;
        let namespace = ["delete", "namespace", &s.namespace, "--timeout=120s"];
        kind_e2e::Tool::Kubectl.run(&namespace)?;
        Ok(())
    });
}
