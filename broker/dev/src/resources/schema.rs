//! Checks a resource against the structural schema of its definition, as far as an API server does
//! that without rules: unknown fields, types, required fields, enumerations, bounds; and fills in
//! defaults. Patterns and CEL rules are the API server's alone.

use serde_json::{Map, Value};

/// Checks `value` and fills in its defaults. The error names the field by its path.
pub fn admit(value: &mut Value, schema: &Value, path: &str) -> Result<(), String> {
    if value.is_null() && schema["nullable"] == true {
        return Ok(());
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return expect(value.is_i64() || value.is_string(), path, "an integer or a string");
    }
    match schema["type"].as_str() {
        Some("object") => admit_object(value, schema, path)?,
        Some("array") => admit_array(value, schema, path)?,
        Some("string") => {
            expect(value.is_string(), path, "a string")?;
            let length = value.as_str().map_or(0, |text| text.chars().count());
            check_size(length, schema, ["minLength", "maxLength"], path, "characters")?;
        }
        Some("integer") => expect(value.is_i64(), path, "a whole number")?,
        Some("number") => expect(value.is_number(), path, "a number")?,
        Some("boolean") => expect(value.is_boolean(), path, "true or false")?,
        _ => {}
    }
    check_range(value, schema, path)?;
    match schema["enum"].as_array() {
        Some(values) if !values.contains(value) => {
            Err(format!("{path}: {value} is none of {}", list(values.iter().map(text))))
        }
        _ => Ok(()),
    }
}

fn admit_object(value: &mut Value, schema: &Value, path: &str) -> Result<(), String> {
    let Some(fields) = value.as_object_mut() else {
        return Err(format!("{path}: {value} is not a map"));
    };
    let known = schema["properties"].as_object();
    // A field without a value is one that is not given.
    fields.retain(|_, value| !value.is_null());
    for (name, of_field) in known.into_iter().flatten() {
        if let Some(default) = of_field.get("default")
            && !fields.contains_key(name)
        {
            fields.insert(name.clone(), default.clone());
        }
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap_or_default();
        expect(fields.contains_key(name), &join(path, name), "there: it is required")?;
    }
    check_size(fields.len(), schema, ["minProperties", "maxProperties"], path, "fields")?;
    for (name, value) in fields {
        let schema = match known.and_then(|known| known.get(name)) {
            Some(schema) => schema,
            None => &schema_of_others(schema, known, path, name)?,
        };
        admit(value, schema, &join(path, name))?;
    }
    Ok(())
}

/// The schema of fields that have none by name.
fn schema_of_others(
    schema: &Value,
    known: Option<&Map<String, Value>>,
    path: &str,
    name: &str,
) -> Result<Value, String> {
    if let Some(others @ Value::Object(_)) = schema.get("additionalProperties") {
        return Ok(others.clone());
    }
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["additionalProperties"] == true
        || known.is_none();
    match is_open {
        true => Ok(Value::Null),
        false => {
            let names = list(known.into_iter().flatten().map(|(name, _)| name.clone()));
            Err(format!("{path}: unknown field `{name}`; there are {names}"))
        }
    }
}

fn admit_array(value: &mut Value, schema: &Value, path: &str) -> Result<(), String> {
    let Some(items) = value.as_array_mut() else {
        return Err(format!("{path}: {value} is not a list"));
    };
    check_size(items.len(), schema, ["minItems", "maxItems"], path, "items")?;
    for (i, item) in items.iter_mut().enumerate() {
        admit(item, &schema["items"], &format!("{path}[{i}]"))?;
    }
    Ok(())
}

fn check_range(value: &Value, schema: &Value, path: &str) -> Result<(), String> {
    let Some(number) = value.as_f64() else { return Ok(()) };
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(min), _) if number < min => Err(format!("{path} is {value}, below {min}")),
        (_, Some(max)) if number > max => Err(format!("{path} is {value}, above {max}")),
        _ => Ok(()),
    }
}

fn check_size(
    size: usize,
    schema: &Value,
    [min, max]: [&str; 2],
    path: &str,
    what: &str,
) -> Result<(), String> {
    let size = size as u64;
    match (schema[min].as_u64(), schema[max].as_u64()) {
        (Some(min), _) if size < min => Err(format!("{path} has fewer than {min} {what}")),
        (_, Some(max)) if size > max => Err(format!("{path} has more than {max} {what}")),
        _ => Ok(()),
    }
}

fn expect(holds: bool, path: &str, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{path} is not {what}")) }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "required": ["count"], "properties": {
            "count": {"type": "integer", "minimum": 1, "maximum": 3},
            "kind": {"type": "string", "enum": ["A", "B"], "default": "A"},
            "names": {"type": "array", "maxItems": 1, "items": {"type": "string", "maxLength": 2}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }})
    }

    #[test]
    fn what_fits_gets_its_defaults() {
        let mut value = json!({"count": 2, "names": ["ab"], "labels": {"a": "b"}, "open": {"x": []},
            "kind": null});
        admit(&mut value, &schema(), "spec").unwrap();
        assert_eq!(value["kind"], "A");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |value: Value, want: &str| {
            let mut value = value;
            let error = admit(&mut value, &schema(), "spec").unwrap_err();
            assert!(error.contains(want), "{error}");
        };
        refused(json!({}), "spec.count is not there");
        refused(json!({"count": 0}), "spec.count is 0, below 1");
        refused(json!({"count": 4}), "above 3");
        refused(json!({"count": 1.5}), "spec.count is not a whole number");
        refused(json!({"count": 1, "cuont": 1}), "spec: unknown field `cuont`; there are count,");
        refused(json!({"count": 1, "kind": "C"}), "spec.kind: \"C\" is none of A, B");
        refused(json!({"count": 1, "names": ["a", "b"]}), "more than 1 items");
        refused(json!({"count": 1, "names": ["abc"]}), "spec.names[0] has more than 2 characters");
        refused(json!({"count": 1, "labels": {"a": 1}}), "spec.labels.a is not a string");
        refused(json!({"count": 1, "labels": []}), "spec.labels: [] is not a map");
    }
}
