//! What a broker's `/metrics` says.

use anyhow::{Context, Result, ensure};

use crate::http;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Series(String);

/// Asks the broker that answers HTTP at this address.
pub fn scrape(address: &str) -> Result<Series> {
    let (status, text) = http::get(address, "/metrics")?;
    ensure!(status == 200, "/metrics: {status} {text}");
    Ok(Series(text))
}

impl Series {
    /// The value of a series by its name, without `barnabas_` and with its labels.
    pub fn value(&self, name: &str) -> Result<f64> {
        let lines = self.0.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix("barnabas_"));
        let value = values.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("{name} is not among the metrics"))?.parse()?)
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The sum of one series over several brokers.
pub fn sum(addresses: impl IntoIterator<Item = String>, name: &str) -> Result<f64> {
    addresses.into_iter().map(|address| scrape(&address)?.value(name)).sum()
}
