//! Schemas that cannot be derived: Kubernetes' own types with few of their descriptions, and the
//! `config` maps, whose values may be of any scalar type.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Most keys of a `config` map.
pub const CONFIG_KEYS_MAX: usize = 256;

/// Broker keys that follow from the rest of the spec or that the operator sets itself.
pub const RESERVED_BROKER_KEYS: [&str; 40] = [
    "node.id",
    "broker.id",
    "broker.id.generation.enable",
    "reserved.broker.max.id",
    "process.roles",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "security.inter.broker.protocol",
    "early.start.listeners",
    "log.dirs",
    "log.dir",
    "metadata.log.dir",
    "cordoned.log.dirs",
    "broker.rack",
    "barnabas.http.listener",
    "barnabas.cluster.id",
    "barnabas.quorum.begin",
    "barnabas.internal.secret.file",
    "barnabas.internal.secret.required",
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "controller.listener.names",
    "controller.quorum.voters",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.auto.join.enable",
    "controller.quorum.election.timeout.ms",
    "controller.quorum.election.backoff.max.ms",
    "controller.quorum.fetch.timeout.ms",
    "controller.quorum.append.linger.ms",
    "controller.quorum.request.timeout.ms",
    "controller.quorum.retry.backoff.ms",
    "controller.performance.sample.period.ms",
    "controller.performance.always.log.threshold.ms",
    "controller.socket.timeout.ms",
    "controller.quota.window.num",
    "zookeeper.connect",
    "zookeeper.session.timeout.ms",
    "zookeeper.metadata.migration.enable",
];

/// What is no number is not for this rule to judge: the operator names the key.
const MIN_ISR_RULE: &str = "!has(self.min__dot__insync__dot__replicas) \
    || !has(self.default__dot__replication__dot__factor) \
    || !string(self.min__dot__insync__dot__replicas).matches('^[0-9]{1,9}$') \
    || !string(self.default__dot__replication__dot__factor).matches('^[0-9]{1,9}$') \
    || int(self.min__dot__insync__dot__replicas) \
        <= int(self.default__dot__replication__dot__factor)";
const MIN_ISR_MESSAGE: &str = "min.insync.replicas is more than default.replication.factor: \
    no write with acks=all would ever succeed";

/// Topic keys that the operator sets itself while partitions move.
pub const RESERVED_TOPIC_KEYS: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// Whether a broker key is refused in `spec.config`. The API server refuses those of
/// [`RESERVED_BROKER_KEYS`] at apply; whole prefixes can be judged here only.
pub fn is_reserved_broker_key(key: &str) -> bool {
    RESERVED_BROKER_KEYS.contains(&key)
        || key.starts_with("controller.")
        || key.starts_with("zookeeper.")
}

/// Most characters of a description that is kept.
const DESCRIPTION_CHARS_MAX: usize = 160;

/// A type of Kubernetes. Its own fields keep the first sentence of their descriptions, for `kubectl
/// explain`; those of the fields below would be most of the CRD.
pub(crate) fn bare_option<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut value = T::json_schema(generator).to_value();
    resolve(&mut value, generator);
    let told = sentences(&value);
    strip(&mut value);
    for (name, sentence) in told {
        value["properties"][name.as_str()]["description"] = sentence.into();
    }
    into_schema(value)
}

/// The first sentence about each field.
fn sentences(schema: &Value) -> Vec<(String, String)> {
    let fields = schema["properties"].as_object();
    let sentence = |(name, field): (&String, &Value)| {
        let text = field["description"].as_str()?.split('\n').next()?;
        let end = text.find(". ").map_or(text.len(), |end| end + 1);
        let short = text[..end].chars().count() <= DESCRIPTION_CHARS_MAX;
        (short && end > 0).then(|| (name.clone(), text[..end].to_owned()))
    };
    fields.into_iter().flatten().filter_map(sentence).collect()
}

/// A list of such a type.
pub(crate) fn bare_list<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let items = bare_option::<T>(generator).to_value();
    into_schema(json!({ "type": "array", "maxItems": 64, "items": items }))
}

/// Schema of a cluster's `config`.
pub(crate) fn broker_config(_: &mut SchemaGenerator) -> Schema {
    let mut rules: Vec<Value> = RESERVED_BROKER_KEYS
        .iter()
        .map(|key| forbidden(key, "follows from the rest of the spec"))
        .collect();
    rules.push(json!({ "rule": MIN_ISR_RULE, "message": MIN_ISR_MESSAGE }));
    let compared = ["min.insync.replicas", "default.replication.factor"];
    config(RESERVED_BROKER_KEYS.iter().chain(&compared), rules)
}

/// Schema of a topic's `config`.
pub(crate) fn topic_config(_: &mut SchemaGenerator) -> Schema {
    let rules = RESERVED_TOPIC_KEYS
        .iter()
        .map(|key| forbidden(key, "is set by the operator while partitions move"))
        .collect();
    config(RESERVED_TOPIC_KEYS.iter(), rules)
}

/// A map with values of any scalar type. A structural schema has no such thing for the values of
/// a map, and rules cannot look into what has no schema, so the keys that a rule names are
/// declared and all others kept as they are.
fn config<'a>(keys: impl Iterator<Item = &'a &'static str>, rules: Vec<Value>) -> Schema {
    let properties: Map<String, Value> = keys
        .map(|key| ((*key).to_owned(), json!({ "x-kubernetes-int-or-string": true })))
        .collect();
    into_schema(json!({
        "type": "object",
        "maxProperties": CONFIG_KEYS_MAX,
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": rules,
    }))
}

fn forbidden(key: &str, why: &str) -> Value {
    let field = key.replace('.', "__dot__");
    json!({ "rule": format!("!has(self.{field})"), "message": format!("{key} {why}: remove it") })
}

/// Puts referenced definitions in their place, as far as the generator did not.
fn resolve(value: &mut Value, generator: &SchemaGenerator) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str)
                && let Some(name) = target.rsplit('/').next()
                && let Some(definition) = generator.definitions().get(name)
            {
                *value = definition.clone();
                return resolve(value, generator);
            }
            map.values_mut().for_each(|v| resolve(v, generator));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| resolve(v, generator)),
        _ => {}
    }
}

/// Removes descriptions. A property may itself be called `description`; that one is an object.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| !(key == "description" && value.is_string()));
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

fn into_schema(value: Value) -> Schema {
    match value {
        Value::Object(map) => Schema::from(map),
        other => Schema::from(other.as_bool().unwrap_or(true)),
    }
}
