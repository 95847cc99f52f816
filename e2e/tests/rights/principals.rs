//! Two users with different rights, as real clients meet them: kcat (librdkafka) and the official
//! tools, over PLAIN.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::clients::{kcat, tool_ok};
use e2e::{ClusterConfig, ports, wait, with_cluster};

use super::{ACLS, AUTHORIZER};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required";
const MAP: &str = "PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT,\
                   CLIENTS:SASL_PLAINTEXT";
const SOON: Duration = Duration::from_secs(30);

/// kcat as a user of the secured listener.
fn as_user(user: &str, at: &str, args: &[&str], input: &str) -> Result<String> {
    let (name, password) =
        (format!("sasl.username={user}"), format!("sasl.password={user}-secret"));
    let login = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanisms=PLAIN"];
    let login = [&login[..], &["-X", &name, "-X", &password, "-b", at]].concat();
    kcat(&[&login[..], args].concat(), input)
}

fn write(user: &str, at: &str) -> Result<String> {
    let acks = ["-X", "acks=all", "-X", "message.timeout.ms=10000"];
    as_user(user, at, &[&["-P", "-t", "orders"], &acks[..]].concat(), "one\n")
}

fn read(user: &str, at: &str) -> Result<String> {
    as_user(user, at, &["-C", "-t", "orders", "-o", "beginning", "-e", "-q"], "")
}

fn is_denied(said: Result<String>) -> bool {
    said.is_err_and(|error| format!("{error:#}").contains("authorization failed"))
}

#[test]
fn two_users_may_do_what_their_rules_say() {
    let port = match ports::free() {
        Ok(port) => port,
        Err(error) => panic!("{error:#}"),
    };
    let users = ["alice", "bob", "carol"].map(|user| format!("user_{user}=\"{user}-secret\""));
    let config = ClusterConfig::new(1)
        .listener("CLIENTS", port)
        .set("listener.security.protocol.map", MAP)
        .set("listener.name.clients.sasl.enabled.mechanisms", "PLAIN")
        .set(
            "listener.name.clients.plain.sasl.jaas.config",
            format!("{PLAIN} {};", users.join(" ")),
        )
        .set("authorizer.class.name", AUTHORIZER)
        .set("super.users", "User:ANONYMOUS");
    with_cluster(config, |cluster| {
        let (admin, at) = (cluster.bootstrap(), format!("127.0.0.1:{port}"));
        cluster.admin()?.create_topic("orders", 1, 1, &[])?;
        cluster.admin()?.create_topic("secrets", 1, 1, &[])?;
        let acls =
            |args: &[&str]| tool_ok(ACLS, &[&["--bootstrap-server", &admin], args].concat(), "");
        ensure!(is_denied(write("alice", &at)), "nobody may write yet");
        acls(&["--add", "--allow-principal", "User:alice", "--producer", "--topic", "orders"])?;
        acls(&[
            "--add",
            "--allow-principal",
            "User:bob",
            "--consumer",
            "--topic",
            "ord",
            "--group",
            "readers",
            "--resource-pattern-type",
            "prefixed",
        ])?;
        write("alice", &at)?;
        ensure!(is_denied(write("bob", &at)), "bob may only read");
        ensure!(read("bob", &at)? == "one\n");
        ensure!(is_denied(read("alice", &at)), "alice may only write");
        let grouped = ["-G", "readers-1", "-c", "1", "-q", "-o", "beginning", "orders"];
        ensure!(as_user("bob", &at, &grouped, "")? == "one\n");
        ensure!(is_denied(read("carol", &at)) && is_denied(write("carol", &at)));
        let listed = as_user("carol", &at, &["-L"], "")?;
        ensure!(!listed.contains("orders") && !listed.contains("secrets"), "{listed}");

        let dir = tempfile::tempdir()?;
        let file = dir.path().join("bob.properties");
        let login = format!("{PLAIN} username=\"bob\" password=\"bob-secret\";");
        fs::write(
            &file,
            format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={login}\n"
            ),
        )?;
        let file = file.display().to_string();
        let list = ["--bootstrap-server", &at, "--command-config", &file, "--list"];
        let listed = tool_ok(TOPICS, &list, "")?;
        ensure!(listed.contains("orders") && !listed.contains("secrets"), "{listed}");

        let remove = ["--remove", "--force", "--allow-principal", "User:alice", "--producer"];
        acls(&[&remove[..], &["--topic", "orders"]].concat())?;
        wait::until("alice's rights to be gone", SOON, || {
            Ok(is_denied(write("alice", &at)).then_some(()))
        })
    });
}
