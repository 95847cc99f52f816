//! How the operator behaved meanwhile. One that was started again, a pass that failed and every
//! other warning of it make a scenario fail, unless the scenario provokes them.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};

use crate::Scenario;
use crate::logs::FINDINGS_MAX;
use crate::provoked::Provoked;

/// Of the operator's container, in the names of its logs.
const CONTAINER: &str = ".operator.";
const FAILURES: &str = "barnabas_operator_failures_total";
/// Somebody else wrote in between: the pass begins anew at once, and the alert does not count it.
const CONFLICTS: [&str; 2] = [
    "{category=\"conflict\",controller=\"cluster\"}",
    "{category=\"conflict\",controller=\"topic\"}",
];

/// Kubernetes ends a watch with this as it likes, and for all when a definition changes, as another
/// scenario may do: it begins anew at once.
const EXPIRED: &str = "too old resource version";

impl Scenario {
    /// A warning that the operator may log in this scenario, by a part of its line. Passes may then
    /// fail as well.
    pub fn allow_warning(&self, part: &str) {
        let mut provoked = self.provoked.lock().unwrap_or_else(PoisonError::into_inner);
        provoked.warnings.push(part.to_owned());
    }

    /// The operator may be started again in this scenario: its process is killed, or ends for want
    /// of an API server.
    pub fn allow_operator_restarts(&self) {
        self.provoked.lock().unwrap_or_else(PoisonError::into_inner).restarts = true;
    }

    /// Fails with what the operator did that it was not provoked to.
    pub(crate) async fn judge_operator(&self) -> Result<()> {
        let provokes_failures = {
            let provoked = self.provoked.lock().unwrap_or_else(PoisonError::into_inner);
            judge_logs(&self.logs, &provoked)?;
            !provoked.warnings.is_empty()
        };
        if provokes_failures {
            return Ok(());
        }
        let mut failed = self.operator_metric(FAILURES).await?;
        for labels in CONFLICTS {
            failed -= self.operator_metric(&format!("{FAILURES}{labels}")).await?;
        }
        ensure!(failed <= 0.0, "{failed} passes of the operator failed");
        Ok(())
    }
}

/// The logs of the operator's containers: their number beyond the first of a pod is a restart.
fn judge_logs(dir: &Path, provoked: &Provoked) -> Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).context("logs")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(CONTAINER) {
            continue;
        }
        if is_restart(&name) && !provoked.restarts {
            found.push(format!("{name}: the operator was started again"));
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let warnings = text.lines().filter(|line| is_unprovoked(line, &provoked.warnings));
        found.extend(warnings.map(|line| format!("{name}: {line}")));
    }
    let count = found.len();
    found.truncate(FINDINGS_MAX);
    ensure!(found.is_empty(), "{count} complaints of the operator:\n{}", found.join("\n"));
    Ok(())
}

/// `POD.CONTAINER.UID.COUNT.log`: the count of starts before.
fn is_restart(name: &str) -> bool {
    let count = name.trim_end_matches(".log").rsplit('.').next();
    count.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0)
}

fn is_unprovoked(line: &str, warnings: &[String]) -> bool {
    let warns = line.contains("\"level\":\"WARN\"") || line.contains(" WARN ");
    warns && !line.contains(EXPIRED) && !warnings.iter().any(|part| line.contains(part.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FAILED: &str = r#"{"level":"WARN","fields":{"message":"pass failed"}}"#;

    #[test]
    fn a_restart_and_a_warning_are_found_unless_they_are_provoked() {
        let dir = std::env::temp_dir().join(format!("conduct-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        write("barnabas-operator-1-a.operator.0a1b2c3d.0.log", "{\"level\":\"INFO\"}\n");
        write("castle-broker-0.broker.0a1b2c3d.2.log", FAILED);
        assert!(judge_logs(&dir, &Provoked::default()).is_ok());
        write("barnabas-operator-1-a.operator.0a1b2c3d.1.log", FAILED);
        let said = judge_logs(&dir, &Provoked::default()).unwrap_err().to_string();
        assert!(said.starts_with("2 complaints"), "{said}");
        let warnings = vec!["pass failed".to_owned()];
        assert!(judge_logs(&dir, &Provoked { warnings, restarts: false }).is_err());
        let warnings = vec!["pass failed".to_owned()];
        assert!(judge_logs(&dir, &Provoked { warnings, restarts: true }).is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }
}
