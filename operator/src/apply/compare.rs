//! Whether a live object already is what is wanted, given that the API server adds defaults,
//! leaves empty values out and writes quantities its own way, and that others may own fields too.

use serde_json::{Map, Value};

/// Whether everything wanted is there.
pub fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => covers_map(live, wanted),
        (Value::Array(live), Value::Array(wanted)) => covers_list(live, wanted),
        (Value::String(live), Value::String(wanted)) => {
            live == wanted || same_quantity(live, wanted)
        }
        (Value::Number(live), Value::Number(wanted)) => live.as_f64() == wanted.as_f64(),
        _ => live == wanted,
    }
}

fn covers_map(live: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, wanted)| match live.get(key) {
        Some(live) => covers(live, wanted) || is_empty(live) && is_empty(wanted),
        None => is_empty(wanted),
    })
}

/// Lists of objects may have entries of others in between; lists of scalars have one owner.
fn covers_list(live: &[Value], wanted: &[Value]) -> bool {
    if !wanted.iter().all(Value::is_object) || wanted.is_empty() {
        return live == wanted;
    }
    let mut live = live.iter();
    wanted.iter().all(|wanted| live.any(|live| covers(live, wanted)))
}

/// The API server leaves these out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.values().all(is_empty),
    }
}

fn same_quantity(a: &str, b: &str) -> bool {
    match (quantity(a), quantity(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// A Kubernetes quantity in thousandths, as far as it is exact.
pub fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if let Some(exponent) = unit.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty())
        && unit != "Ei"
    {
        return scaled(
            number,
            10_i128.checked_pow(exponent.parse::<u32>().ok()?)?.checked_mul(1_000)?,
        );
    }
    let scale: i128 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        "Pi" => 1_000 << 50,
        "Ei" => 1_000 << 60,
        _ => return None,
    };
    scaled(number, scale)
}

fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 9 || whole.len() > 15 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let unit = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let part = digits.checked_mul(scale)? / unit;
    whole.checked_mul(scale)?.checked_add(part)
}

/// FNV-1a over the value's canonical text: the same in every version of the operator.
pub fn hash(value: &Value) -> u64 {
    value.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_server_and_fields_of_others_are_no_difference() {
        let wanted = json!({"spec": {"ports": [{"name": "a", "port": 9092}], "clusterIP": "None",
            "publishNotReadyAddresses": false, "selector": {}}});
        let live = json!({"metadata": {"uid": "1"}, "status": {"loadBalancer": {}},
            "spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [
                {"name": "added-by-another", "port": 1},
                {"name": "a", "port": 9092, "protocol": "TCP", "targetPort": 9092}]}});
        assert!(covers(&live, &wanted));
    }

    #[test]
    fn what_somebody_changed_or_removed_is_a_difference() {
        let wanted = json!({"spec": {"args": ["run"], "ports": [{"port": 1}, {"port": 2}],
            "labels": {"a": "b"}}});
        let mut live = wanted.clone();
        assert!(covers(&live, &wanted));
        live["spec"]["labels"]["a"] = json!("c");
        assert!(!covers(&live, &wanted), "a changed value");
        live = wanted.clone();
        live["spec"]["args"] = json!(["run", "more"]);
        assert!(!covers(&live, &wanted), "a longer command");
        live = wanted.clone();
        live["spec"]["ports"] = json!([{"port": 2}]);
        assert!(!covers(&live, &wanted), "a missing port");
    }

    #[test]
    fn quantities_compare_by_what_they_say() {
        assert!(covers(&json!({"storage": "1Gi"}), &json!({"storage": "1024Mi"})));
        assert!(covers(&json!({"cpu": "500m"}), &json!({"cpu": "0.5"})));
        assert!(!covers(&json!({"cpu": "500m"}), &json!({"cpu": "0.51"})));
        assert!(!covers(&json!("a"), &json!("b")));
        assert_eq!(quantity("1.5Gi"), Some(1_610_612_736_000));
        assert_eq!(quantity("1e12"), quantity("1T"));
        assert_eq!(quantity("1.5E3"), quantity("1500"));
        assert_eq!(quantity("1E"), quantity("1000P"), "not an exponent");
        assert_eq!((quantity("1e99"), quantity("1e-3"), quantity("1ex")), (None, None, None));
        assert_eq!((quantity("Gi"), quantity("x"), quantity("")), (None, None, None));
    }

    #[test]
    fn a_hash_tells_wishes_apart() {
        assert_eq!(hash(&json!({"a": 1, "b": 2})), hash(&json!({"b": 2, "a": 1})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
    }
}
