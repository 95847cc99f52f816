//! What the brokers say over HTTP. Any broker names the active controller, and the controller is
//! the one that is believed: its image is the newest there is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base::{BrokerId, TopicPartition};
use futures::stream::{self, StreamExt};
use plan::{BrokerRisk, BrokerSettings, Missing, MoveView, RackRisk};
use serde::Deserialize;
use tokio::time::timeout;

use super::http;

/// One question.
const PATIENCE: Duration = Duration::from_secs(3);
/// All that is asked to find a broker that answers: of a large cluster that cannot be reached no
/// look tries every broker for as long as one question may take.
const FIRST_MAX: Duration = Duration::from_secs(6);
/// Brokers asked at once who the controller is, and questions to the controller at once.
const AT_ONCE: usize = 8;

/// Everything that the controller said.
#[derive(Clone, Debug)]
pub struct Probes {
    pub controller: BrokerId,
    pub brokers: BTreeMap<BrokerId, Broker>,
    pub racks: BTreeMap<String, RackRisk>,
    /// `None` where there are more than the reply lists.
    pub moves: Option<Vec<MoveView>>,
}

/// One registered broker.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    pub fenced: bool,
    pub rack: Option<String>,
    pub risk: BrokerRisk,
    pub missing: Option<Missing>,
    pub settings: Option<BrokerSettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestartRiskReply {
    /// An older broker does not say.
    #[serde(default)]
    cluster_id: Option<String>,
    active_controller: Option<i32>,
    brokers: Vec<BrokerReply>,
    racks: Vec<RackReply>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RiskReply {
    at_risk: u64,
    #[serde(default)]
    examples: Vec<String>,
    #[serde(default)]
    unavoidable: u64,
    #[serde(default)]
    unavoidable_examples: Vec<String>,
}

#[derive(Deserialize)]
struct BrokerReply {
    id: i32,
    fenced: bool,
    #[serde(flatten)]
    risk: RiskReply,
    hosted: u64,
    leading: u64,
    /// An older broker does not say.
    cordoned: Option<bool>,
    throttled: Option<bool>,
}

#[derive(Deserialize)]
struct RackReply {
    rack: String,
    #[serde(default)]
    brokers: Vec<i32>,
    #[serde(flatten)]
    risk: RiskReply,
}

#[derive(Deserialize)]
struct CaughtUpReply {
    missing: u64,
    #[serde(default)]
    examples: Vec<String>,
}

#[derive(Deserialize)]
struct AllCaughtUpReply {
    brokers: Vec<OneCaughtUp>,
}

#[derive(Deserialize)]
struct OneCaughtUp {
    broker: i32,
    #[serde(flatten)]
    reply: CaughtUpReply,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MovesReply {
    in_flight: usize,
    partitions: Vec<MoveReply>,
}

#[derive(Deserialize)]
struct MoveReply {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
    #[serde(default)]
    isr: Vec<i32>,
}

impl RestartRiskReply {
    fn is_of_another(&self, cluster: &str) -> bool {
        self.cluster_id.as_ref().is_some_and(|id| !id.is_empty() && id != cluster)
    }
}

/// Asks the brokers at these addresses, the likeliest to answer first; the error is for people. An
/// address that has become another cluster's is not believed.
pub async fn ask(cluster: &str, pods: &[(BrokerId, IpAddr)], port: u16) -> Result<Probes, String> {
    let late = |_| "no broker answers in time".to_owned();
    let asked = timeout(FIRST_MAX, first(cluster, pods, port));
    let (from, mut risk) = asked.await.map_err(late)??;
    let controller = risk.active_controller.map(BrokerId).ok_or("there is no active controller")?;
    let address = pods.iter().find(|(id, _)| *id == controller).map(|(_, address)| *address);
    let address =
        address.ok_or_else(|| format!("the active controller, broker {controller}, has no pod"))?;
    if controller != from {
        risk = http::get(address, port, "/restart-risk", PATIENCE).await.map_err(|error| {
            format!("the active controller, broker {controller}, does not answer: {error}")
        })?;
    }
    if risk.is_of_another(cluster) {
        return Err(format!("{address} is another cluster's now"));
    }
    if risk.active_controller != Some(controller.0) {
        return Err("the active controller is changing".into());
    }
    let moves: MovesReply = http::get(address, port, "/moves", PATIENCE)
        .await
        .map_err(|error| format!("broker {controller}, /moves: {error}"))?;
    let missing = missing(address, port, &risk).await;
    Ok(collect(controller, risk, moves, missing))
}

/// The first broker that answers.
async fn first(
    cluster: &str,
    pods: &[(BrokerId, IpAddr)],
    port: u16,
) -> Result<(BrokerId, RestartRiskReply), String> {
    let mut failure = "no broker has an address yet".to_owned();
    let asked = stream::iter(pods.iter().copied()).map(|(id, address)| async move {
        (id, http::get::<RestartRiskReply>(address, port, "/restart-risk", PATIENCE).await)
    });
    let mut replies = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
    while let Some((id, reply)) = replies.next().await {
        match reply {
            Ok(reply) if reply.is_of_another(cluster) => {
                failure = format!("at the address of broker {id} answers another cluster");
            }
            Ok(reply) => return Ok((id, reply)),
            Err(error) => failure = format!("broker {id} does not answer: {error}"),
        }
    }
    Err(failure)
}

async fn missing(
    address: IpAddr,
    port: u16,
    risk: &RestartRiskReply,
) -> BTreeMap<BrokerId, Missing> {
    let all = "/caught-up?broker=all";
    if let Ok(all) = http::get::<AllCaughtUpReply>(address, port, all, PATIENCE).await {
        let of = |r: CaughtUpReply| Missing { count: r.missing, examples: r.examples };
        return all.brokers.into_iter().map(|one| (BrokerId(one.broker), of(one.reply))).collect();
    }
    // A broker of an older release is asked about one at a time.
    let ids: Vec<i32> = risk.brokers.iter().map(|b| b.id).collect();
    stream::iter(ids)
        .map(|id| async move {
            let path = format!("/caught-up?broker={id}");
            let reply = http::get::<CaughtUpReply>(address, port, &path, PATIENCE).await.ok()?;
            Some((BrokerId(id), Missing { count: reply.missing, examples: reply.examples }))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

fn collect(
    controller: BrokerId,
    risk: RestartRiskReply,
    moves: MovesReply,
    mut missing: BTreeMap<BrokerId, Missing>,
) -> Probes {
    let mut rack_of: BTreeMap<i32, String> = BTreeMap::new();
    for rack in &risk.racks {
        rack_of.extend(rack.brokers.iter().map(|id| (*id, rack.rack.clone())));
    }
    let brokers = risk.brokers.into_iter().map(|broker| {
        let id = BrokerId(broker.id);
        let view = Broker {
            fenced: broker.fenced,
            rack: rack_of.remove(&broker.id),
            risk: BrokerRisk {
                at_risk: broker.risk.at_risk,
                examples: broker.risk.examples,
                unavoidable: broker.risk.unavoidable,
                unavoidable_examples: broker.risk.unavoidable_examples,
                hosted: broker.hosted,
                leading: broker.leading,
            },
            missing: missing.remove(&id),
            settings: broker
                .cordoned
                .zip(broker.throttled)
                .map(|(cordoned, throttled)| BrokerSettings { cordoned, throttled }),
        };
        (id, view)
    });
    let racks = risk.racks.into_iter().map(|rack| {
        let RiskReply { at_risk, examples, unavoidable, .. } = rack.risk;
        (rack.rack, RackRisk { at_risk, examples, unavoidable })
    });
    let complete = moves.partitions.len() >= moves.in_flight;
    Probes {
        controller,
        brokers: brokers.collect(),
        racks: racks.collect(),
        moves: complete.then(|| moves.partitions.into_iter().map(move_view).collect()),
    }
}

fn move_view(reply: MoveReply) -> MoveView {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    MoveView {
        partition: TopicPartition { topic: reply.topic.into(), partition: reply.partition },
        replicas: ids(reply.replicas),
        adding: ids(reply.adding),
        removing: ids(reply.removing),
        isr: ids(reply.isr),
    }
}

/// What a broker that is not ready says of itself, e.g. `recovering 3 of 20`.
pub async fn health(address: IpAddr, port: u16) -> Option<String> {
    let text = http::get_text(address, port, "/healthz", PATIENCE).await.ok()?;
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    (!line.is_empty() && line != "ok").then(|| line.chars().take(200).collect())
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
