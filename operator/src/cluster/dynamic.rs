//! Configs that running brokers take: what the spec says is set for all brokers, and what is set
//! there but not in the spec is reset. What somebody set for one broker is left alone.

use std::collections::{BTreeMap, BTreeSet};

use crd::KafkaCluster;

use super::problem::Problem;
use crate::kafka::{Admin, AdminError, ConfigChange, ConfigResource, ConfigSource};

/// Brings the configs of all brokers to what the spec says. Returns whether anything changed.
pub async fn apply(admin: &Admin, cluster: &KafkaCluster) -> Result<bool, Problem> {
    let now = admin.all_brokers_configs().await.map_err(unanswered)?;
    let now = now.into_iter().filter(|(_, config)| config.source == ConfigSource::AllBrokers);
    let now: BTreeMap<String, Option<String>> =
        now.map(|(key, config)| (key, config.value)).collect();
    let Some(change) = change(&now, build::dynamic_config(cluster)) else { return Ok(false) };
    tracing::info!(set = ?change.set, delete = ?change.delete, "changing configs of all brokers");
    let answers = admin.alter_configs(&[change], false).await.map_err(unanswered)?;
    match answers.into_iter().next() {
        Some(Err(refused)) => Err(Problem {
            reason: "ConfigRefused",
            message: format!("the brokers refuse spec.config: {}", refused.message),
            lasting: !refused.is_retriable(),
        }),
        _ => Ok(true),
    }
}

fn unanswered(error: AdminError) -> Problem {
    let message = format!("spec.config is not applied yet: {error}");
    Problem { reason: "ConfigNotApplied", message, lasting: false }
}

fn change(
    now: &BTreeMap<String, Option<String>>,
    wanted: BTreeMap<String, String>,
) -> Option<ConfigChange> {
    let stray = now.keys().filter(|key| !wanted.contains_key(*key));
    let delete: BTreeSet<String> = stray.cloned().collect();
    let differs = |key: &String, value: &String| now.get(key) != Some(&Some(value.clone()));
    let set: BTreeMap<String, String> =
        wanted.into_iter().filter(|(key, value)| differs(key, value)).collect();
    let any = !set.is_empty() || !delete.is_empty();
    any.then_some(ConfigChange { resource: ConfigResource::AllBrokers, set, delete })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn missing_and_drifted_keys_are_set_stray_ones_reset_and_equal_ones_left() {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let now = |pairs: &[(&str, &str)]| -> BTreeMap<String, Option<String>> {
            text(pairs).into_iter().map(|(k, v)| (k, Some(v))).collect()
        };
        let wanted = text(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let change = change(&now(&[("a", "1"), ("b", "9"), ("d", "4")]), wanted.clone()).unwrap();
        assert_eq!(change.set, text(&[("b", "2"), ("c", "3")]));
        assert_eq!(change.delete.into_iter().collect::<Vec<_>>(), ["d"]);
        let equal = now(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(super::change(&equal, wanted), None);
    }
}
