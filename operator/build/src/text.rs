//! Parts of the brokers' files as text.

use crd::ListenerSpec;

/// The listener's name in Kafka.
pub(crate) fn kafka_name(listener: &ListenerSpec) -> String {
    listener.name.to_uppercase()
}

/// A host before a port.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Lines of a properties file; a backslash and a line break in a value are escaped.
pub(crate) fn text_of<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        text.extend([key, "=", &value, "\n"]);
    }
    text
}
