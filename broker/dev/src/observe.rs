//! Looks at the running cluster from outside, as a client: metadata over the Kafka protocol,
//! readiness over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{Connection, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::messages::{MetadataRequest, MetadataResponse};

use super::plan::BrokerPlan;
use super::process::ProcessState;
use super::view::{BrokerView, ClusterView};

const TIMEOUT: Duration = Duration::from_secs(2);
/// `/readyz` lists what is missing; a screen shows no more of it than this.
const ANSWER_BYTES_MAX: u64 = 4096;

/// The cluster now. Brokers that do not answer are shown as not ready.
pub async fn observe(brokers: &[(BrokerPlan, ProcessState)]) -> ClusterView {
    let mut view = ClusterView::default();
    let metadata = first_metadata(brokers).await;
    for (plan, process) in brokers {
        let ready = match process {
            ProcessState::Running { .. } => readiness(&plan.http).await,
            _ => Err(String::new()),
        };
        let (leaders, replicas) = metadata.as_ref().map_or((0, 0), |m| count(m, plan.id));
        view.brokers.push(BrokerView {
            id: plan.id,
            process: process.clone(),
            ready,
            leaders,
            replicas,
        });
    }
    if let Some(metadata) = metadata {
        summarize(&mut view, &metadata);
    }
    view
}

/// `Ok` when the broker says that it is ready, else what it says is missing.
pub async fn readiness(address: &str) -> Result<(), String> {
    match timeout(TIMEOUT, get(address, "/readyz")).await {
        Ok(Ok((200, _))) => Ok(()),
        Ok(Ok((_, body))) => Err(body.lines().next().unwrap_or_default().to_owned()),
        Ok(Err(_)) => Err("starting".to_owned()),
        Err(_) => Err("does not answer".to_owned()),
    }
}

async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => bail!("not an HTTP answer"),
    }
}

async fn first_metadata(brokers: &[(BrokerPlan, ProcessState)]) -> Option<MetadataResponse> {
    for (plan, process) in brokers {
        if !matches!(process, ProcessState::Running { .. }) {
            continue;
        }
        let request = MetadataRequest { topics: None, ..Default::default() };
        let options =
            Options { connect_timeout: TIMEOUT, request_timeout: TIMEOUT, ..Options::default() };
        if let Ok(connection) = Connection::open(&plan.address, options).await
            && let Ok(metadata) = connection.call_newest(&request).await
        {
            return Some(metadata);
        }
    }
    None
}

fn count(metadata: &MetadataResponse, id: i32) -> (usize, usize) {
    let partitions = || metadata.topics.iter().flat_map(|t| &t.partitions);
    let leaders = partitions().filter(|p| p.leader_id == id).count();
    let replicas = partitions().filter(|p| p.replica_nodes.contains(&id)).count();
    (leaders, replicas)
}

fn summarize(view: &mut ClusterView, metadata: &MetadataResponse) {
    view.controller = Some(metadata.controller_id).filter(|id| *id >= 0);
    view.topics = metadata.topics.len();
    for partition in metadata.topics.iter().flat_map(|t| &t.partitions) {
        view.partitions += 1;
        view.under_replicated +=
            usize::from(partition.isr_nodes.len() < partition.replica_nodes.len());
        view.offline += usize::from(partition.leader_id < 0);
    }
}
