//! The figures of all turns, and the Markdown table that compares their medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::Target;

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
    values: BTreeMap<(Key, bool), Vec<f64>>,
}

impl Figures {
    pub fn add(&mut self, key: Key, target: Target, value: f64) {
        if !self.order.contains(&key) {
            self.order.push(key.clone());
        }
        self.values.entry((key, target == Target::Barnabas)).or_default().push(value);
    }

    fn median(&self, key: &Key, target: Target) -> Option<f64> {
        let mut values = self.values.get(&(key.clone(), target == Target::Barnabas))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

/// One row per figure: both medians, and Barnabas as a multiple of Apache Kafka.
pub fn table(figures: &Figures) -> String {
    let mut text = String::from(
        "| figure (median of the turns) | Apache Kafka 4.4.0 | Barnabas | ratio |\n\
         |---|---:|---:|---:|\n",
    );
    for key in &figures.order {
        let theirs = figures.median(key, Target::Apache);
        let ours = figures.median(key, Target::Barnabas);
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
        let key = Key { name: "start".into(), unit: "s" };
        for (target, value) in [
            (Target::Apache, 4.0),
            (Target::Barnabas, 1.0),
            (Target::Apache, 2.0),
            (Target::Apache, 200.0),
        ] {
            figures.add(key.clone(), target, value);
        }
        let table = table(&figures);
        assert!(table.ends_with("| start | 4.00 s | 1.00 s | 0.25 |\n"), "{table}");
    }
}
