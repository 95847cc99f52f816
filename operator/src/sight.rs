//! Whether watches work. One that fails is tried again for ever, in silence for all who wait for
//! it: a namespace that is gone with the Role in it, a right that was taken away. So each failure
//! is counted and logged, with the namespace and the kind.

use std::fmt::Display;
use std::sync::Arc;

use crate::Context;

/// One watch.
#[derive(Clone)]
pub struct Sight {
    context: Arc<Context>,
    /// Empty: all of them.
    namespace: String,
    kind: String,
}

impl Context {
    /// A watch of one kind in one namespace, or in all of them.
    pub fn watching(self: &Arc<Context>, namespace: Option<&str>, kind: &str) -> Sight {
        let (context, namespace) = (self.clone(), namespace.unwrap_or_default().to_owned());
        Sight { context, namespace, kind: kind.to_owned() }
    }
}

impl Sight {
    /// Takes in whether the watch told something, or failed.
    pub fn saw(&self, failure: Option<&impl Display>) {
        let Sight { context, namespace, kind } = self;
        context.metrics.watched(namespace, kind, failure.is_some());
        if let Some(error) = failure {
            tracing::warn!(namespace, kind, %error, "cannot be watched: nothing is done there");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {

    use crate::fake_api::FakeApi;

    #[tokio::test]
    async fn a_watch_that_fails_is_counted_until_it_works_again() {
        let context = FakeApi::default().context(&[]);
        let sight = context.watching(Some("b"), "Topic");
        sight.saw(Some(&"topics is forbidden"));
        sight.saw(Some(&"topics is forbidden"));
        let text = context.metrics.text();
        let labels = "{kind=\"Topic\",namespace=\"b\"}";
        assert!(text.contains(&format!("watch_failures_total{labels} 2")), "{text}");
        assert!(text.contains(&format!("watch_failing{labels} 1")), "{text}");
        sight.saw(None::<&String>);
        let text = context.metrics.text();
        assert!(text.contains(&format!("watch_failing{labels} 0")), "{text}");
    }
}
