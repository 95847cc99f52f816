//! What can go wrong in a pass, and what follows from it: a class for the metrics, and how soon to
//! try again.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::ObjectList;
use tokio::time::timeout;

/// One request to the API server: one that a dead connection leaves unanswered ends here.
const REQUEST_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A pass that did not end as it should. What waits for something is no error: it is a status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {}", said(source))]
    Api { doing: String, source: Box<kube::Error> },
    /// The brokers could not be asked or refused, over Kafka's protocol or HTTP.
    #[error("{0}")]
    Brokers(String),
    #[error("{0}: no answer in time")]
    Timeout(String),
    /// The resource lacks what the API server always sets.
    #[error("the resource has no {0}")]
    Incomplete(&'static str),
    #[error("{0}")]
    Build(String),
    /// The resource says what this version of the operator does not know.
    #[error("the spec cannot be read: {0}")]
    Unreadable(String),
    /// An object of a name that the operator needs is somebody else's.
    #[error("{0}")]
    Foreign(String),
}

/// A class of errors: label of `barnabas_operator_failures_total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Category {
    /// Somebody else wrote in between: seen again at once.
    Conflict,
    Forbidden,
    /// The API server refuses the object.
    Rejected,
    Api,
    Brokers,
    Timeout,
    Foreign,
    Internal,
}

impl Category {
    pub fn name(self) -> &'static str {
        match self {
            Category::Conflict => "conflict",
            Category::Forbidden => "forbidden",
            Category::Rejected => "rejected",
            Category::Api => "api",
            Category::Brokers => "brokers",
            Category::Timeout => "timeout",
            Category::Foreign => "foreign",
            Category::Internal => "internal",
        }
    }

    /// When to try again; `None` where the wait grows with every failure.
    pub fn retry(self) -> Option<Duration> {
        match self {
            Category::Conflict => Some(Duration::from_millis(200)),
            Category::Brokers | Category::Timeout => Some(Duration::from_secs(2)),
            // An earlier cluster of that name may be on its way out.
            Category::Foreign => Some(Duration::from_secs(5)),
            Category::Forbidden | Category::Rejected | Category::Api | Category::Internal => None,
        }
    }
}

/// One request to the API server, bounded in time; `doing` is for people.
pub async fn request<T>(
    doing: impl Into<String>,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    let doing = doing.into();
    match timeout(REQUEST_MAX, request).await {
        Ok(result) => result.map_err(Error::api(doing)),
        Err(_) => Err(Error::Timeout(doing)),
    }
}

/// Objects per request of a list.
const PAGE: u32 = 500;

/// A whole list, page by page, each of which `one` gets from the API server. `doing` is for people.
pub async fn pages<K: Clone, F>(
    doing: &str,
    params: ListParams,
    one: impl Fn(ListParams) -> F,
) -> Result<Vec<K>>
where
    F: Future<Output = kube::Result<ObjectList<K>>>,
{
    let mut params = params.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = request(doing, one(params.clone())).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

impl Error {
    /// For `map_err`: says what was being done.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Api { doing, source: Box::new(source) }
    }

    pub fn category(&self) -> Category {
        match self {
            Error::Api { source, .. } => match &**source {
                error if is_conflict(error) => Category::Conflict,
                kube::Error::Api(status) if status.is_forbidden() => Category::Forbidden,
                kube::Error::Api(status) if matches!(status.code, 400 | 422) => Category::Rejected,
                _ => Category::Api,
            },
            Error::Brokers(_) => Category::Brokers,
            Error::Timeout(_) => Category::Timeout,
            Error::Foreign(_) => Category::Foreign,
            Error::Incomplete(_) | Error::Build(_) => Category::Internal,
            Error::Unreadable(_) => Category::Rejected,
        }
    }

    /// A disruption budget does not let the pod go now.
    pub fn is_held_back(&self) -> bool {
        match self {
            Error::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.code == 429)
            }
            _ => false,
        }
    }

    /// An object of that name is there already.
    pub fn is_already_there(&self) -> bool {
        match self {
            Error::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.is_already_exists())
            }
            _ => false,
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Error::Api { source, .. } => is_not_found(source),
            _ => false,
        }
    }
}

/// The API server's own words, where it answered.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// The object is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// Somebody else wrote since it was read.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_api_server_s_words_and_classed_by_its_code() {
        let status: Status = serde_json::from_value(serde_json::json!({"status": "Failure",
            "message": "spec.x: Invalid value", "reason": "Invalid", "code": 422}))
        .unwrap();
        let error = Error::api("apply Service a")(kube::Error::Api(Box::new(status)));
        assert_eq!(error.to_string(), "apply Service a: spec.x: Invalid value");
        assert_eq!(error.category(), Category::Rejected);
    }
}
