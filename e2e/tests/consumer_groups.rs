//! Groups of the consumer protocol (KIP-848): unmodified clients that join, leave, are killed and
//! restarted, and Kafka's tool on them. Sessions are short here, which only brokers can say.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::clients::{java_command, tool, tool_ok};
use e2e::{ClusterConfig, clients, wait, with_cluster};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

fn config() -> ClusterConfig {
    ClusterConfig::new(3)
        .set("group.consumer.min.session.timeout.ms", 6_000)
        .set("group.consumer.session.timeout.ms", 6_000)
        .set("group.consumer.min.heartbeat.interval.ms", 500)
        .set("group.consumer.heartbeat.interval.ms", 500)
}

#[test]
fn members_of_the_official_client_share_whoever_is_killed_or_restarted() {
    with_cluster(config(), |cluster| {
        let names = ["next-crash", "next-rolling", "next-expression"];
        clients::java_scenarios_named(cluster, &names)
    });
}

#[test]
fn members_of_librdkafka_share_too() {
    with_cluster(config(), |cluster| {
        let names = ["next-group", "next-crash", "next-expression"];
        clients::python_scenarios_named(cluster, "with_librdkafka", &names)
    });
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_official_tool_describes_them() {
    with_cluster(config(), |cluster| {
        let at = cluster.bootstrap();
        let on = ["--bootstrap-server", &at];
        let create = ["--create", "--topic", "told", "--partitions", "6"];
        tool_ok(TOPICS, &[&on[..], &create].concat(), "")?;
        let mut command = java_command()?;
        command.args(["clients.Member", &at, "told", "tale", "consumer"]);
        let member = Running(command.stdout(Stdio::null()).spawn()?);
        let group = ["--group", "tale"];
        let ask = |more: &[&str]| -> Result<String> {
            Ok(tool(GROUPS, &[&on[..], &group, &["--describe"], more].concat(), "")?.out)
        };
        wait::until("the group to be stable", Duration::from_secs(60), || {
            let state = ask(&["--state"])?;
            Ok((state.contains("Stable") && state.contains("uniform")).then_some(()))
        })?;
        let offsets = ask(&[])?;
        ensure!(offsets.lines().filter(|line| line.contains("told")).count() == 6, "{offsets}");
        let members = ask(&["--members", "--verbose"])?;
        ensure!(members.contains("told:0,1,2,3,4,5"), "{members}");
        let listed = ["--list", "--type", "consumer"];
        let listed = tool_ok(GROUPS, &[&on[..], &listed].concat(), "")?;
        ensure!(listed.lines().any(|line| line.starts_with("tale")), "{listed}");
        let refused = tool(GROUPS, &[&on[..], &group, &["--delete"]].concat(), "")?;
        ensure!(refused.out.contains("not empty"), "{refused:?}");
        drop(member);
        wait::until("the group to be empty", Duration::from_secs(60), || {
            let state = ask(&["--state"])?;
            Ok(state.contains("Empty").then_some(()))
        })?;
        let deleted = tool_ok(GROUPS, &[&on[..], &group, &["--delete"]].concat(), "")?;
        ensure!(deleted.contains("was successful"), "{deleted}");
        Ok(())
    });
}
