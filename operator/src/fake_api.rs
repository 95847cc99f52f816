//! An API server for tests: it keeps objects, lists them by labels, applies and merges patches,
//! and counts writes. Nothing else: no defaults, no validation, no watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use clap::Parser;
use kube::Client;
use serde_json::{Value, json};

use crate::Context;
use crate::runtime::Settings;

/// Requests are small.
const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// What these flags say.
pub fn settings(flags: &[&str]) -> Settings {
    Cli::parse_from([&["operator"], flags].concat()).settings
}

/// The server; copies share their objects.
#[derive(Clone, Default)]
pub struct FakeApi {
    state: Arc<Mutex<Objects>>,
}

#[derive(Default)]
struct Objects {
    /// By path of the object.
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: Vec<String>,
    /// Reads too.
    requests: Vec<String>,
    /// Objects that may not be written, by path.
    refused: BTreeSet<String>,
    /// Objects of which requests are never answered, by path.
    silent: BTreeSet<String>,
    /// Objects whose next write finds that somebody else wrote; then they are silent.
    contested: BTreeSet<String>,
    /// Pods whose budget does not let them go, by path.
    held_back: BTreeSet<String>,
    /// What a policy makes of objects whenever they are written, by path.
    mutated: BTreeMap<String, Value>,
}

impl FakeApi {
    pub fn client(&self) -> Client {
        let router = Router::new().fallback(answer).with_state(self.clone());
        Client::new(router, "default")
    }

    /// What an operator that was started with these flags has, with this server behind it.
    pub fn context(&self, flags: &[&str]) -> Arc<Context> {
        let settings = settings(&[&["--broker-image", "barnabas/broker:1"], flags].concat());
        Arc::new(Context::new(self.client(), settings))
    }

    /// Puts an object there, as somebody else would.
    pub fn put(&self, path: &str, object: Value) {
        let mut state = self.state.lock().expect("no test panics with it");
        state.store(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().expect("no test panics with it").objects.get(path).cloned()
    }

    /// Takes an object away, as somebody else would.
    pub fn remove(&self, path: &str) {
        self.state.lock().expect("no test panics with it").objects.remove(path);
    }

    /// Names of all objects below a path.
    pub fn names(&self, path: &str) -> Vec<String> {
        let state = self.state.lock().expect("no test panics with it");
        let prefix = format!("{path}/");
        let names = state.objects.keys().filter_map(|key| key.strip_prefix(&prefix));
        names.map(str::to_owned).collect()
    }

    /// Every write to that object is refused from now on, as one that is not valid.
    pub fn refuse(&self, path: &str) {
        let mut state = self.state.lock().expect("no test panics with it");
        state.refused.insert(path.to_owned());
    }

    /// The budget of that pod does not let it go.
    pub fn hold_back(&self, path: &str) {
        self.state.lock().expect("no test panics with it").held_back.insert(path.to_owned());
    }

    pub fn let_go(&self, path: &str) {
        self.state.lock().expect("no test panics with it").held_back.remove(path);
    }

    /// A policy merges this into the object whenever it is applied.
    pub fn mutate(&self, path: &str, change: Value) {
        let mut state = self.state.lock().expect("no test panics with it");
        state.mutated.insert(path.to_owned(), change);
    }

    /// No request for that object is answered from now on.
    pub fn hang(&self, path: &str) {
        self.state.lock().expect("no test panics with it").silent.insert(path.to_owned());
    }

    /// The next write to that object is too late; after that no request for it is answered.
    pub fn conflict_then_hang(&self, path: &str) {
        self.state.lock().expect("no test panics with it").contested.insert(path.to_owned());
    }

    /// `METHOD path` of all requests since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("no test panics with it").requests)
    }

    /// `METHOD path` of the writes since the last call.
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("no test panics with it").writes)
    }
}

impl Objects {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        for (key, value) in [
            ("uid", json!(format!("uid-{path}"))),
            ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
            ("generation", json!(1)),
            ("namespace", json!("ns")),
        ] {
            if metadata[key].is_null() {
                metadata[key] = value;
            }
        }
        if let Some(name) = path.rsplit('/').next() {
            metadata["name"] = json!(name);
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn list(&self, path: &str, selector: &str) -> Value {
        let wanted: Vec<(&str, &str)> =
            selector.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let prefix = format!("{path}/");
        // Of all namespaces: `/apis/GROUP/VERSION` and `KINDS`.
        let (group, kinds) = path.rsplit_once('/').unwrap_or_default();
        let (all, kinds) = (format!("{group}/namespaces/"), format!("/{kinds}/"));
        let is_below = |key: &str| match path.contains("/namespaces/") {
            true => key.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')),
            false => key.starts_with(&all) && key.contains(&kinds),
        };
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| is_below(key))
            .map(|(_, object)| object)
            .filter(|object| wanted.iter().all(|(k, v)| object["metadata"]["labels"][k] == *v))
            .collect();
        let version = self.version.to_string();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version},
            "items": items})
    }

    fn patch(&mut self, path: &str, patch: &Value, applies: bool) -> Option<Value> {
        let (target, subresource) = match path.strip_suffix("/status") {
            Some(target) => (target, true),
            None => (path, false),
        };
        let mut object = match self.objects.get(target) {
            Some(object) => object.clone(),
            None if applies => json!({}),
            None => return None,
        };
        if let Value::Array(operations) = patch {
            replace(&mut object, operations);
        } else if subresource {
            object["status"] = patch["status"].clone();
        } else {
            merge(&mut object, patch);
            if let Some(change) = self.mutated.get(target) {
                merge(&mut object, change);
            }
        }
        Some(self.store(target, object))
    }
}

/// The one operation of a JSON patch that we use; its tests always hold.
fn replace(object: &mut Value, operations: &[Value]) {
    for operation in operations.iter().filter(|operation| operation["op"] == "replace") {
        let path = operation["path"].as_str().unwrap_or_default();
        if let Some(place) = object.pointer_mut(path) {
            *place = operation["value"].clone();
        }
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

async fn answer(State(api): State<FakeApi>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.expect("a small body");
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = parts.uri.path().to_owned();
    if api.state.lock().expect("no test panics with it").silent.contains(&path) {
        return std::future::pending().await;
    }
    let mut state = api.state.lock().expect("no test panics with it");
    if parts.method != Method::GET && state.contested.remove(&path) {
        state.silent.insert(path);
        return failure(StatusCode::CONFLICT, "Conflict", "somebody else wrote");
    }
    state.requests.push(format!("{} {path}", parts.method));
    if parts.method != Method::GET && state.refused.contains(&path) {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "it is not valid");
    }
    if parts.method == Method::POST {
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        if state.objects.contains_key(&format!("{path}/{name}")) {
            return failure(StatusCode::CONFLICT, "AlreadyExists", "it exists already");
        }
    }
    let evicted = path.strip_suffix("/eviction").map(str::to_owned);
    if evicted.as_ref().is_some_and(|pod| state.held_back.contains(pod)) {
        return failure(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "would violate the budget",
        );
    }
    if parts.method != Method::GET {
        state.writes.push(format!("{} {path}", parts.method));
    }
    let found = match parts.method {
        Method::GET => match state.objects.get(&path) {
            Some(object) => Some(object.clone()),
            None if is_collection(&path) => Some(state.list(&path, &selector(&parts.uri))),
            None => None,
        },
        Method::PATCH => {
            let kind = parts.headers.get("content-type").map(|kind| kind.as_bytes());
            let applies = kind.is_some_and(|kind| kind.starts_with(b"application/apply"));
            state.patch(&path, &value, applies)
        }
        Method::POST if evicted.is_some() => evicted
            .and_then(|pod| state.objects.remove(&pod))
            .map(|_| json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        Method::POST => {
            let name = value["metadata"]["name"].as_str().unwrap_or("generated");
            let path = format!("{path}/{name}");
            Some(state.store(&path, value))
        }
        Method::PUT => Some(state.store(&path, value)),
        Method::DELETE => state.objects.remove(&path),
        _ => None,
    };
    match found {
        Some(object) => axum::Json(object).into_response(),
        None => failure(StatusCode::NOT_FOUND, "NotFound", "not found"),
    }
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}

/// `…/namespaces/NS/KINDS`, without a name, or `/apis/GROUP/VERSION/KINDS`.
fn is_collection(path: &str) -> bool {
    if path.starts_with("/apis/") && path.split('/').count() == 5 {
        return true;
    }
    let mut parts = path.split('/').skip_while(|part| *part != "namespaces");
    parts.by_ref().nth(2).is_some() && parts.next().is_none()
}

fn selector(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let found = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="));
    let text = found.unwrap_or_default();
    text.replace("%2C", ",").replace("%3D", "=").replace("%2F", "/")
}
