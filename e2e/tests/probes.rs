//! What Kubernetes and the operator rely on, against real processes: a broker tells how it is from
//! its first moment on, moves to another rack and address without anybody noticing, and says what
//! stopping it would mean.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use e2e::admin::{Admin, Partitions};
use e2e::process::{Process, tail};
use e2e::{Cluster, ClusterConfig, http, metrics, ports, setup, wait, with_cluster};
use serde_json::{Value, json};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::{CreateTopicsRequest, DescribeClusterRequest, IncrementalAlterConfigsRequest};

const PATIENCE: Duration = Duration::from_secs(30);
const BROKER: i8 = 4;

fn three() -> ClusterConfig {
    let mut config = ClusterConfig::new(3);
    config.pod_config = true;
    // A broker that a busy machine stops for a second is not what these tests are about: it would
    // be fenced, and leaders and ISRs would change. A broken connection is noticed as ever.
    config.set("barnabas.session.silence.ms", 10_000)
}

#[test]
fn a_broker_that_moves_is_found_and_nothing_else_changes() {
    with_cluster(three(), |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic("t", 6, 3, &[("min.insync.replicas", "2")])?;
        let before = admin.partitions(&["t"])?;
        let life = incarnation(cluster, 2)?;
        let port = cluster.addresses(2).client;
        let place = format!(
            "broker.rack=zone-b\nadvertised.listeners=PLAINTEXT://localhost:{port},\
             REPLICATION://127.0.0.1:{}\n",
            cluster.addresses(2).replication
        );
        fs::write(cluster.pod_file(2), &place)?;
        wait_place(cluster, "localhost", Some("zone-b"))?;
        unmoved(cluster, &before, &life)?;
        // A wrong file changes nothing and is named.
        fs::write(cluster.pod_file(2), "broker.rack=zone-c\nnum.partition=3\n")?;
        let log = cluster.process(2)?.log().to_owned();
        wait::until("the log to name the wrong key", PATIENCE, || {
            Ok(tail(&log, 50).contains("num.partition (did you mean").then_some(()))
        })?;
        wait_place(cluster, "localhost", Some("zone-b"))?;
        // Corrected, it counts; what it does not name is as configured.
        fs::write(cluster.pod_file(2), "broker.rack=zone-c\n")?;
        wait_place(cluster, "127.0.0.1", Some("zone-c"))?;
        unmoved(cluster, &before, &life)?;
        // A restart starts with the file.
        cluster.stop(2)?;
        cluster.start_broker(2)?;
        cluster.wait_broker(2)?;
        wait_place(cluster, "127.0.0.1", Some("zone-c"))?;
        ensure!(incarnation(cluster, 2)? != life, "a new process");
        let risk = http::json(&cluster.http(1), "/restart-risk")?;
        ensure!(risk["racks"][0]["rack"] == "zone-c", "{risk}");
        ensure!(risk["racks"][0]["brokers"] == json!([2]), "{risk}");
        Ok(())
    });
}

/// Every broker tells where broker 2 is.
fn wait_place(cluster: &Cluster, host: &str, rack: Option<&str>) -> Result<()> {
    for id in cluster.ids() {
        let admin = Admin::new(vec![cluster.address(id)])?;
        wait::until(format!("broker {id} to find 2 at {host}"), PATIENCE, || {
            let metadata = admin.metadata(&["nobody-has-this"])?;
            let broker = metadata.brokers.iter().find(|b| b.node_id == 2).context("broker 2")?;
            let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
            let described = admin.call(&request)?;
            let same = described.brokers.iter().find(|b| b.broker_id == 2).context("broker 2")?;
            let told = (broker.host.as_str(), broker.rack.as_deref());
            ensure!(told == (host, rack), "Metadata: {told:?}");
            let told = (same.host.as_str(), same.rack.as_deref());
            ensure!(told == (host, rack), "DescribeCluster: {told:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

fn incarnation(cluster: &Cluster, id: usize) -> Result<Value> {
    let answer = http::json(&cluster.http(1), &format!("/caught-up?broker={id}"))?;
    ensure!(answer["registered"] == true && answer["incarnation"].is_string(), "{answer}");
    Ok(answer["incarnation"].clone())
}

/// No leadership moved and no ISR changed: every change of either grows an epoch.
fn unmoved(cluster: &Cluster, before: &Partitions, life: &Value) -> Result<()> {
    let now = cluster.admin()?.partitions(&["t"])?;
    ensure!(now == *before, "{before:?} became {now:?}");
    let answer = http::json(&cluster.http(1), "/caught-up?broker=2")?;
    ensure!(answer["incarnation"] == *life && answer["fenced"] == false, "{answer}");
    ensure!(answer["missing"] == 0 && answer["percent"] == 100.0, "{answer}");
    Ok(())
}

#[test]
fn brokers_say_what_a_stop_would_mean() {
    with_cluster(three(), |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic("safe", 4, 3, &[("min.insync.replicas", "2")])?;
        admin.create_topic("single", 1, 1, &[])?;
        let risk = http::json(&cluster.http(2), "/restart-risk")?;
        let sum = |risk: &Value, key: &str| -> u64 {
            let brokers = risk["brokers"].as_array().into_iter().flatten();
            brokers.filter_map(|b| b[key].as_u64()).sum()
        };
        ensure!(risk["activeController"].is_i64() && risk["offset"].is_i64(), "{risk}");
        ensure!(sum(&risk, "atRisk") == 0 && sum(&risk, "unavoidable") == 1, "{risk}");
        ensure!(sum(&risk, "hosted") == 13 && sum(&risk, "leading") == 5, "{risk}");
        let moves = http::json(&cluster.http(2), "/moves")?;
        ensure!(moves["inFlight"] == 0 && moves["partitions"] == json!([]), "{moves}");
        ensure!(http::get(&cluster.http(2), "/caught-up")?.0 == 400);

        cluster.kill(3)?;
        wait::until("the others to be needed", PATIENCE, || {
            let risk = http::json(&cluster.http(1), "/restart-risk")?;
            let of = |id: usize| risk["brokers"][id - 1]["atRisk"].as_u64();
            let needed = of(1) == Some(4) && of(2) == Some(4) && of(3) == Some(0);
            ensure!(needed && risk["brokers"][2]["fenced"] == true, "{risk}");
            Ok(Some(()))
        })?;
        let left = || [cluster.http(1), cluster.http(2)];
        wait::until("the metrics to tell what is missing", PATIENCE, || {
            let behind = metrics::sum(left(), "under_replicated_partitions")?;
            ensure!(behind >= 4.0, "{behind} under-replicated partitions");
            Ok(Some(()))
        })?;
        let gone = http::json(&cluster.http(1), "/caught-up?broker=3")?;
        ensure!(gone["fenced"] == true && gone["missing"].as_u64() >= Some(4), "{gone}");
        cluster.start_broker(3)?;
        wait::until("broker 3 to be ready", PATIENCE, || {
            let (status, missing) = http::get(&cluster.http(3), "/readyz")?;
            ensure!(status == 200, "{status} {missing}");
            Ok(Some(()))
        })?;
        ensure!(http::get(&cluster.http(3), "/healthz")? == (200, "ok\n".to_owned()));
        let back = http::json(&cluster.http(1), "/caught-up?broker=3")?;
        ensure!(back["fenced"] == false && back["percent"] == 100.0, "{back}");
        Ok(())
    });
}

#[test]
fn a_cordoned_broker_gets_no_new_replicas() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let admin = cluster.admin()?;
        ensure!(cordon(&admin, "1", "/nowhere")? == ErrorCode::InvalidConfig.code());
        ensure!(cordon(&admin, "", "*")? == ErrorCode::InvalidRequest.code());
        ensure!(cordon(&admin, "1", "*")? == 0);
        admin.create_topic("narrow", 12, 2, &[])?;
        let partitions = admin.partitions(&["narrow"])?;
        let used: BTreeSet<i32> = partitions.values().flat_map(|p| p.replicas.clone()).collect();
        ensure!(used == BTreeSet::from([2, 3]), "{used:?}");
        let (code, message) = create(&admin, "wide", 3)?;
        ensure!(code == ErrorCode::InvalidReplicationFactor.code(), "{code} {message}");
        ensure!(message.contains("log directories cordoned"), "{message}");
        ensure!(cordon(&admin, "1", &cluster.data_dir(1).display().to_string())? == 0);
        ensure!(create(&admin, "wide", 3)?.0 != 0, "its only directory by name");
        ensure!(cordon(&admin, "1", "")? == 0);
        ensure!(create(&admin, "wide", 3)?.0 == 0, "lifted");
        Ok(())
    });
}

fn cordon(admin: &Admin, broker: &str, value: &str) -> Result<i16> {
    let config = AlterableConfig {
        name: "cordoned.log.dirs".into(),
        config_operation: 0,
        value: Some(value.into()),
    };
    let resource = AlterConfigsResource {
        resource_type: BROKER,
        resource_name: broker.into(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    Ok(admin.call(&request)?.responses.first().context("no answer")?.error_code)
}

fn create(admin: &Admin, name: &str, replication_factor: i16) -> Result<(i16, String)> {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor,
        ..CreatableTopic::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let response = admin.call(&request)?;
    let result = response.topics.first().context("no answer")?;
    let message = result.error_message.as_ref().map(|m| m.as_str().to_owned());
    Ok((result.error_code, message.unwrap_or_default()))
}

/// As in a new StatefulSet: the names of the others do not resolve, nor does its own.
#[test]
fn a_broker_whose_peers_have_no_names_yet_lives_waits_and_stops() -> Result<()> {
    let _one = e2e::exclusive();
    let dir = tempfile::tempdir()?;
    let (client, controller, probes) = (ports::free()?, ports::free()?, ports::free()?);
    let voters: Vec<String> =
        (0..3).map(|id| format!("{id}@b-{id}.brokers.invalid:{controller}")).collect();
    let common = dir.path().join("server.properties");
    let own = dir.path().join("b-0.properties");
    let secret = dir.path().join("secret");
    fs::write(&secret, "the secret of a cluster without names")?;
    fs::write(
        &common,
        format!(
            "process.roles=broker,controller\nlisteners=PLAIN://:{client},\
             CONTROLLER://[::]:{controller}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             barnabas.internal.secret.file={}\ncontroller.quorum.voters={}\n\
             log.dirs={}\nbarnabas.http.listener=127.0.0.1:{probes}\nnode.id=7\n",
            secret.display(),
            voters.join(","),
            dir.path().join("data").display(),
        ),
    )?;
    fs::write(&own, format!("node.id=0\nadvertised.listeners=PLAIN://b-0.invalid:{client}\n"))?;
    let mut command = Command::new(setup::broker()?);
    command.args(["run", "--config"]).arg(&common).arg("--config").arg(&own);
    let mut process = Process::spawn(&mut command, &dir.path().join("broker.log"))?;
    let address = format!("127.0.0.1:{probes}");
    wait::until("the broker to be alive", PATIENCE, || {
        let answer = http::get(&address, "/healthz")?;
        ensure!(process.alive(), "{}", tail(process.log(), 20));
        Ok((answer == (200, "ok\n".to_owned())).then_some(()))
    })?;
    let (status, missing) = http::get(&address, "/readyz")?;
    ensure!(status == 503 && missing.contains("no active controller"), "{status} {missing}");
    for path in ["/restart-risk", "/caught-up?broker=0", "/moves"] {
        let (status, body) = http::get(&address, path)?;
        ensure!(status == 503 && body.contains("not registered yet"), "{path}: {status} {body}");
    }
    let ended = process.terminate(Duration::from_secs(15))?;
    ensure!(ended.success(), "{ended}\n{}", tail(process.log(), 20));
    Ok(())
}
