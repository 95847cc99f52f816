//! Brokers that do not come back by themselves: what the user is told, with the commands that mend
//! it, and how one is replaced.

use base::BrokerId;
use build::Names;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use plan::{Lost, LostWhy};

use super::observe::Observation;
use super::observe::pods::{LOSE_DATA, REPLACE};
use super::owned_objects::{delete, delete_this};
use super::problem::Problem;
use super::{Operator, names};
use crate::error::Result;

/// What the user has to know of brokers that are lost, each with what can be done.
pub fn problems(look: &Observation) -> Vec<Problem> {
    let names = names(&look.cluster);
    look.plan.lost.iter().map(|lost| problem(&names, lost)).collect()
}

fn problem(names: &Names<'_>, lost: &Lost) -> Problem {
    let id = lost.broker;
    let command = |value: &str| {
        let (namespace, pod) = (names.namespace, names.pod(id.0));
        format!("kubectl annotate pod -n {namespace} {pod} {REPLACE}={value} --overwrite")
    };
    let problem = |reason, message, lasting| Problem { reason, message, lasting };
    match &lost.why {
        LostWhy::TimeNotSet => problem(
            "NodeLost",
            format!(
                "broker {id} does not come back: its node is lost. To replace its pod and volume, \
                 if others have its data: {} (spec.brokers.nodeLossTimeoutSeconds does so by \
                 itself)",
                command("true")
            ),
            true,
        ),
        LostWhy::NotYet => {
            let text = "is replaced if it is not back in spec.brokers.nodeLossTimeoutSeconds";
            problem("NodeLost", format!("broker {id}, whose node is lost, {text}"), false)
        }
        LostWhy::Waits(why) => {
            problem("NodeLost", format!("broker {id} is not replaced yet: {why}"), false)
        }
        LostWhy::LastCopy { what, given_up } => {
            let way_out = match given_up {
                true => format!(". To lose it: {}", command(LOSE_DATA)),
                false => String::new(),
            };
            problem("LastCopy", format!("broker {id} is not replaced: {what}{way_out}"), true)
        }
    }
}

impl Operator {
    /// The claim first: it goes once its pod is gone, and whoever dies in between finds it going.
    /// The node does not confirm the end of the pod, so it is not waited for.
    pub(super) async fn replace(
        &self,
        look: &Observation,
        id: BrokerId,
        volume: bool,
    ) -> Result<()> {
        if volume {
            self.delete_claim(look, id).await?;
        }
        let Some(pod) = look.live.pods.get(&id) else { return Ok(()) };
        let namespace = names(&look.cluster).namespace;
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        self.context.metrics.wrote("Pod");
        let now = DeleteParams { grace_period_seconds: Some(0), ..delete_this(pod) };
        delete(&api, &pod.name_any(), &now).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use plan::Replacement;
    use serde_json::json;

    use super::*;
    use crate::cluster::observe::pods::asked;

    #[test]
    fn the_commands_that_replace_a_broker_are_those_that_are_understood() {
        let names = Names { cluster: "c", namespace: "ns" };
        let last =
            LostWhy::LastCopy { what: "it has the only replica of t-0".into(), given_up: true };
        for (why, asks) in [(LostWhy::TimeNotSet, Replacement::Safe), (last, Replacement::LoseData)]
        {
            let told = problem(&names, &Lost { broker: BrokerId(1), why });
            let value = told.message.split("-n ns c-broker-1 ").nth(1).unwrap();
            let (key, value) = value.split(' ').next().unwrap().split_once('=').unwrap();
            let pod = json!({"metadata": {"annotations": {key: value}}});
            assert_eq!(asked(&serde_json::from_value(pod).unwrap()), Some(asks));
            assert!(told.lasting);
        }
    }
}
