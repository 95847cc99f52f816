//! The figures of all turns, and the Markdown table that compares their medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Contender;

/// What is measured, in which unit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    pub name: String,
    pub unit: &'static str,
}

/// All values, with the names in the order in which they first came.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    order: Vec<Key>,
    /// By figure, and whether they are the peer's.
    values: BTreeMap<(Key, bool), Vec<f64>>,
}

impl Figures {
    pub fn add(&mut self, key: Key, contender: &Contender, value: f64) {
        if !self.order.contains(&key) {
            self.order.push(key.clone());
        }
        self.values.entry((key, contender.is_peer())).or_default().push(value);
    }

    fn median(&self, key: &Key, contender: &Contender) -> Option<f64> {
        let mut values = self.values.get(&(key.clone(), contender.is_peer()))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

/// One row per figure: both medians, and Barnabas as a multiple of its peer.
pub fn table(figures: &Figures, peer: &Contender) -> String {
    let mut text = format!(
        "| figure (median of the turns) | {} | Barnabas | ratio |\n|---|---:|---:|---:|\n",
        peer.name(),
    );
    for key in &figures.order {
        let theirs = figures.median(key, peer);
        let ours = figures.median(key, &Contender::Barnabas);
        let ratio = match (theirs, ours) {
            (Some(theirs), Some(ours)) if theirs > 0.0 => format!("{:.2}", ours / theirs),
            _ => String::from("-"),
        };
        let cell = |value: Option<f64>| match value {
            Some(value) if value >= 100.0 => format!("{value:.0} {}", key.unit),
            Some(value) => format!("{value:.2} {}", key.unit),
            None => String::from("-"),
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "| {} | {} | {} | {ratio} |", key.name, cell(theirs), cell(ours));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared() {
        let mut figures = Figures::default();
        let before = Contender::Before("broker".into());
        let key = Key { name: "start".into(), unit: "s" };
        for (contender, value) in
            [(&before, 4.0), (&Contender::Barnabas, 1.0), (&before, 2.0), (&before, 200.0)]
        {
            figures.add(key.clone(), contender, value);
        }
        let table = table(&figures, &before);
        assert!(table.starts_with("| figure (median of the turns) | Barnabas before | Barnabas |"));
        assert!(table.ends_with("| start | 4.00 s | 1.00 s | 0.25 |\n"), "{table}");
    }
}
