//! One sentence per broker key, as DescribeConfigs gives it out (KIP-569). A key that is the
//! broker's side of a topic config has that config's text; the others have a line in `docs.txt`.

use super::topic_config_of_broker_key;

/// `key: sentence` per line, sorted by key.
const DOCS: &str = include_str!("docs.txt");

/// What the key does; empty for a key that is not known.
pub fn broker_key_doc(name: &str) -> &'static str {
    if let Some(topic) = topic_config_of_broker_key(name) {
        return topic.doc;
    }
    let of_key = |line: &'static str| line.strip_prefix(name)?.strip_prefix(": ");
    DOCS.lines().find_map(of_key).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{broker_key, broker_keys};

    #[test]
    fn every_broker_key_has_its_sentence() {
        for key in broker_keys() {
            let doc = broker_key_doc(key.name);
            assert!(doc.ends_with('.'), "{} needs a line in docs.txt", key.name);
        }
        for line in DOCS.lines() {
            let name = line.split(": ").next().unwrap_or_default();
            assert!(broker_key(name).is_some(), "docs.txt: {name} is no key");
            assert!(topic_config_of_broker_key(name).is_none(), "docs.txt: {name} has a text");
        }
        assert_eq!(broker_key_doc("num.partition"), "");
    }
}
