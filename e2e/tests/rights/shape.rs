//! What of a response is compared: codes, names and operations, whatever order they come in.

/// Fields that rules of access show in.
const KEPT: &[&str] = &["name", "topic", "group_id", "transactional_id", "resource_name", "key"];

fn is_kept(key: &str) -> bool {
    KEPT.contains(&key) || key.ends_with("error_code") || key.ends_with("authorized_operations")
}

/// The comparable part of a response, by its `Debug` text.
pub fn of(response: &impl std::fmt::Debug) -> String {
    let text = format!("{response:?}");
    let mut parser = Parser { rest: &text };
    parser.value(true)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// The next value; nothing of it where it is not kept, but for what it contains.
    fn value(&mut self, kept: bool) -> String {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            let text = self.quoted();
            return if kept { text } else { String::new() };
        }
        let end = self.rest.find([',', '}', ']', ')', '{', '[', '(']).unwrap_or(self.rest.len());
        let word = self.rest[..end].trim().to_owned();
        self.rest = &self.rest[end..];
        match self.rest.chars().next() {
            Some('{') => self.fields(),
            Some('[') => {
                let mut items = self.items(kept);
                items.sort();
                items.join(" ")
            }
            Some('(') => self.items(kept).join(" "),
            _ if kept => word,
            _ => String::new(),
        }
    }

    fn quoted(&mut self) -> String {
        let open = self.rest.find('"').unwrap_or(0);
        let mut escaped = false;
        let is_end = |c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        };
        let inner = &self.rest[open + 1..];
        let close = inner.find(is_end).unwrap_or(inner.len());
        let text = inner[..close].to_owned();
        self.rest = inner.get(close + 1..).unwrap_or_default();
        text
    }

    fn fields(&mut self) -> String {
        let mut told = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            self.rest = self.rest.trim_start_matches([' ', ',']);
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return told.join(" ");
            }
            let Some((key, rest)) = self.rest.split_once(':') else {
                self.rest = "";
                return told.join(" ");
            };
            let (key, kept) = (key.trim().to_owned(), is_kept(key.trim()));
            self.rest = rest;
            let value = self.value(kept);
            if kept {
                told.push(format!("{key}={value}"));
            } else if !value.is_empty() {
                told.push(format!("({value})"));
            }
        }
    }

    fn items(&mut self, kept: bool) -> Vec<String> {
        let mut items = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            self.rest = self.rest.trim_start_matches([' ', ',']);
            if let Some(rest) = self.rest.strip_prefix([']', ')']) {
                self.rest = rest;
                return items;
            }
            if self.rest.is_empty() {
                return items;
            }
            let before = self.rest.len();
            let item = self.value(kept);
            if !item.is_empty() {
                items.push(item);
            }
            if self.rest.len() == before {
                self.rest = "";
            }
        }
    }
}

#[test]
fn codes_and_names_are_kept_in_any_order() {
    #[derive(Debug)]
    #[allow(dead_code)]
    struct Topic {
        error_code: i16,
        name: Option<&'static str>,
        partitions: Vec<i32>,
    }
    #[derive(Debug)]
    #[allow(dead_code)]
    struct Response {
        throttle_time_ms: i32,
        topics: Vec<Topic>,
    }
    let topic = |name, error_code| Topic { error_code, name, partitions: vec![1, 2] };
    let response = |topics| Response { throttle_time_ms: 3, topics };
    let (a, b) = (|| topic(Some("a, \"}"), 29), || topic(None, 0));
    let told = of(&response(vec![a(), b()]));
    assert_eq!(told, of(&response(vec![b(), a()])));
    assert!(told.contains("error_code=29 name=a, \\\"}") && !told.contains('3'), "{told}");
}
