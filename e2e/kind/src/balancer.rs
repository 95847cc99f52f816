//! A load balancer, which the bed has none of. Each Service that asks for one gets an address of
//! the nodes' network that a node holds beside its own, and kube-proxy passes on what arrives
//! there: clients on this machine and in pods connect as through a balancer of a cloud.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::Scenario;
use crate::command::Tool;

/// Addresses are taken from the last 256 of a network, where the engine, which counts from the
/// first, does not come to. `bed/clean.sh` finds those of an interrupted scenario by this label.
const LABEL: &str = "eth0:balancer";

/// Holds its addresses while it lives.
pub struct Balancer<'a> {
    scenario: &'a Scenario,
    node: String,
    /// `a.b`, of a network that fixes no more than these.
    network: String,
    held: Vec<String>,
}

impl Scenario {
    pub fn balancer(&self) -> Result<Balancer<'_>> {
        let node = self.workers()?.pop().context("the bed has no workers")?;
        let shown = show(&node)?;
        let network = network_of(&shown).with_context(|| shown.clone())?;
        Ok(Balancer { scenario: self, node, network, held: Vec::new() })
    }
}

impl Balancer<'_> {
    /// Gives an address to each Service that asks for a load balancer and has none.
    pub async fn serve(&mut self) -> Result<()> {
        let api = self.scenario.api::<Service>();
        for service in api.list(&ListParams::default()).await?.items {
            if !waits(&service) {
                continue;
            }
            let address = self.take()?;
            let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
            let name = service.name_any();
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
            self.scenario.say(format!("service {name} has address {address}"));
        }
        Ok(())
    }

    /// The first address that the node does not hold yet, for whatever scenario.
    fn take(&mut self) -> Result<String> {
        let shown = show(&self.node)?;
        let mut all = (1..255).map(|last| format!("{}.255.{last}", self.network));
        let address = all.find(|address| !shown.contains(&format!("inet {address}/")));
        let address = address.context("the node holds all addresses that there are")?;
        Tool::Docker.run(&self.command("add", &address))?;
        self.held.push(address.clone());
        Ok(address)
    }

    fn command<'b>(&'b self, action: &'b str, address: &'b str) -> [&'b str; 10] {
        let node = self.node.as_str();
        ["exec", node, "ip", "address", action, address, "dev", "eth0", "label", LABEL]
    }
}

impl Drop for Balancer<'_> {
    fn drop(&mut self) {
        for address in &self.held {
            if let Err(error) = Tool::Docker.run(&self.command("del", address)) {
                self.scenario.say(format!("{} keeps {address}: {error:#}", self.node));
            }
        }
    }
}

/// The addresses of a node, as `ip` prints them.
fn show(node: &str) -> Result<String> {
    Tool::Docker.run(&["exec", node, "ip", "-oneline", "-4", "address", "show", "dev", "eth0"])
}

fn waits(service: &Service) -> bool {
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref());
    kind == Some("LoadBalancer") && ingress.is_none_or(Vec::is_empty)
}

/// The first two bytes of the network that `ip` shows, e.g. of `inet 172.18.0.3/16`.
fn network_of(shown: &str) -> Result<String> {
    let after = shown.split_whitespace().skip_while(|word| *word != "inet").nth(1);
    let (address, bits) = after.and_then(|a| a.split_once('/')).context("no IPv4 address")?;
    let bits: u8 = bits.parse()?;
    ensure!(bits <= 16, "the nodes' network is too small to take addresses from");
    let mut bytes = address.split('.');
    let both = bytes.next().zip(bytes.next());
    both.map(|(first, second)| format!("{first}.{second}")).context("no IPv4 address")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_network_is_read_where_it_has_room() {
        let shown = |net: &str| format!("47: eth0    inet {net} brd 172.18.255.255 scope global");
        assert_eq!(network_of(&shown("172.18.0.3/16")).unwrap(), "172.18");
        assert!(network_of(&shown("172.18.0.3/24")).is_err());
        assert!(network_of("").is_err());
    }
}
