//! The kinds of objects that a cluster has, each named once. Who lists, watches, applies or removes
//! objects goes through this table; the chart's RBAC is compared with it. A new kind is a new row,
//! a field of [`build::Objects`] and a rule in the chart, which a test asks for.

/// Calls `$then!` with the table. Kinds that are applied come in that order: the StatefulSet is
/// the last, because its pods need the rest. Their columns are the field of `LiveObjects`, the
/// kind, what is wanted of it, the method of the `Writer` that applies it, and whether an object
/// that is no longer wanted is deleted. Kubernetes makes the kinds that are tended; their last
/// column finds the broker of an object.
macro_rules! managed_kinds {
    ($then:ident) => {
        $then! {
            applied {
                accounts: ServiceAccount, |of| of.service_account.as_slice(), all, true;
                services: Service, |of| of.services.as_slice(), services, true;
                config_maps: ConfigMap, |of| from_ref(&of.config_map), all, false;
                policies: NetworkPolicy, |of| of.network_policy.as_slice(), all, true;
                budgets: PodDisruptionBudget, |of| from_ref(&of.pod_disruption_budget), all, false;
                sets: StatefulSet, |of| from_ref(&of.stateful_set), sets, false;
            }
            tended {
                pods: Pod, broker_of_pod;
                claims: PersistentVolumeClaim, broker_of_claim;
            }
        }
    };
}

pub(super) use managed_kinds;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::{
        ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount,
    };
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use kube::Resource;
    use serde_json::Value;

    const APPLIED: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
    const TENDED: &[&str] = &["get", "list", "watch", "update", "patch", "delete"];
    /// Rights besides those to managed kinds, each with its reason in the chart.
    const OTHERS: &[&str] = &["namespaces", "secrets", "pods/eviction", "events"];

    /// API group and plural of a kind, and what the operator does with it.
    type Rights = BTreeMap<(String, String), Vec<String>>;

    fn right<K: Resource<DynamicType = ()>>(verbs: &[&str]) -> ((String, String), Vec<String>) {
        let resource = (K::group(&()).into_owned(), K::plural(&()).into_owned());
        (resource, verbs.iter().map(|verb| (*verb).to_owned()).collect())
    }

    macro_rules! rights {
        (applied { $($f:ident: $kind:ty, $w:expr, $a:ident, $p:literal;)* }
         tended { $($g:ident: $tended:ty, $o:ident;)* }) => {
            Rights::from([$(right::<$kind>(APPLIED),)* $(right::<$tended>(TENDED),)*])
        };
    }

    /// The rules of the chart that are not about our own resources.
    fn chart() -> Rights {
        let file = "../charts/barnabas-operator/templates/_helpers.tpl";
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR")));
        let text = text.unwrap();
        let (_, rules) = text.split_once("define \"barnabas.rules\" -}}\n").unwrap();
        let (rules, _) = rules.split_once("{{- end").unwrap();
        let rules: Vec<Value> = serde_yaml::from_str(rules).unwrap();
        let mut rights = Rights::new();
        let texts = |rule: &Value, key: &str| -> Vec<String> {
            serde_json::from_value(rule[key].clone()).unwrap()
        };
        for rule in rules.iter().filter(|rule| rule["apiGroups"][0] != crd::GROUP) {
            for resource in texts(rule, "resources") {
                if !OTHERS.contains(&resource.as_str()) {
                    let group = texts(rule, "apiGroups").remove(0);
                    rights.insert((group, resource), texts(rule, "verbs"));
                }
            }
        }
        rights
    }

    #[test]
    fn the_chart_gives_the_rights_that_managed_kinds_need_and_no_others() {
        assert_eq!(chart(), managed_kinds!(rights), "left: the chart; right: what is needed");
    }
}
