//! Kafka's names as Rust writes them.

/// `TopicId` and `topicId` as `topic_id`.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut previous = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (previous.is_ascii_lowercase() || previous.is_ascii_digit()) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
        previous = c;
    }
    out
}

/// The field's identifier, raw where it is a keyword of Rust.
pub fn field(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "type" | "match" | "ref" | "move" => format!("r#{name}"),
        _ => name,
    }
}
