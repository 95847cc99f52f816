//! What the house measures: per package its arrows, the lengths of files and functions, assertions,
//! and its largest circle. Only the assertions are judged here: the other files judge the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::circles::Circles;
use super::edges;
use super::finding::{Finding, finding};
use super::scan::{blank, functions, without_tests};
use super::sources::CORES;
use crate::run;

/// Packages of the broker that keep what its cores decided. Whoever reads one of either learns from
/// its assertions what always holds.
const KEEPERS: &[&str] = &["broker/commitlog", "broker/quorum"];

/// Of these, per thousand lines.
const ASSERTIONS_MIN: usize = 2;

#[derive(Default)]
struct Figures {
    files: Vec<usize>,
    functions: Vec<usize>,
    assertions: usize,
}

/// The figures by package, and those of all.
pub struct Measured(BTreeMap<String, Figures>);

pub fn measure_all(files: &[PathBuf]) -> Result<Measured> {
    let mut packages: BTreeMap<String, Figures> = BTreeMap::new();
    for file in files.iter().filter(|file| is_of_product(file)) {
        let path = run::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let package = file.to_string_lossy();
        let package = package.split("/src/").next().unwrap_or_default();
        measure(packages.entry(package.to_owned()).or_default(), &text);
        measure(packages.entry("all".to_owned()).or_default(), &text);
    }
    Ok(Measured(packages))
}

impl Measured {
    /// One line per package, and one for all.
    pub fn report(&self, circles: &Circles) -> String {
        report(&self.0, circles)
    }

    /// Packages that assert too little.
    pub fn check(&self) -> Vec<Finding> {
        let cores = CORES.iter().filter(|name| name.starts_with("broker/"));
        let asserting = cores.chain(KEEPERS).filter_map(|name| Some((name, self.0.get(*name)?)));
        let poor = asserting.filter(|(_, figures)| !figures.asserts_enough());
        let found = poor.map(|(name, figures)| {
            let (count, lines) = (figures.assertions, figures.lines());
            let rule = format!(
                "{count} assertions in {lines} lines, at least {ASSERTIONS_MIN} per thousand"
            );
            finding(name, rule)
        });
        found.collect()
    }
}

fn report(packages: &BTreeMap<String, Figures>, circles: &Circles) -> String {
    let mut lines = vec![format!(
        "{:<22} {:>6} {:>16} {:>16} {:>9} {:>6}  {}",
        "package", "lines", "file p50/p90/max", "fn p50/p90/max", "assert/k", "circle", "may name"
    )];
    for (package, figures) in packages {
        let circle = circles.largest(package);
        let name = package.rsplit('/').next().unwrap_or_default();
        lines.push(figures.line(package, circle, &edges::of(name)));
    }
    lines.join("\n")
}

impl Figures {
    fn lines(&self) -> usize {
        self.files.iter().sum()
    }

    fn asserts_enough(&self) -> bool {
        self.assertions * 1000 >= self.lines() * ASSERTIONS_MIN
    }

    fn line(&self, package: &str, circle: usize, edges: &str) -> String {
        let lines = self.lines();
        let per_thousand = self.assertions as f64 * 1000.0 / lines.max(1) as f64;
        let (files, functions) = (spread(&self.files), spread(&self.functions));
        format!(
            "{package:<22} {lines:>6} {files:>16} {functions:>16} {per_thousand:>9.1} {circle:>6}  \
             {edges}"
        )
    }
}

fn spread(lengths: &[usize]) -> String {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let at = |share: usize| sorted.get(sorted.len() * share / 100).copied().unwrap_or(0);
    format!("{}/{}/{}", at(50), at(90), sorted.last().copied().unwrap_or(0))
}

/// Sources of libraries and programs, without tests.
fn is_of_product(file: &Path) -> bool {
    let text = file.to_string_lossy();
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    text.ends_with(".rs")
        && text.contains("/src/")
        && !text.contains("/tests/")
        && !name.ends_with("tests")
        && name != "testing"
}

fn measure(figures: &mut Figures, text: &str) {
    let blanked = blank(text);
    let code = without_tests(&blanked);
    figures.files.push(code.lines().count());
    figures.functions.extend(functions(code).iter().map(|function| function.lines));
    // `validate()` of a core is a list of them, called after each event.
    for word in ["assert!(", "assert_eq!(", "assert_ne!("] {
        figures.assertions += code.matches(word).count();
    }
    figures.assertions += text.matches("expect(\"invariant").count();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_asserts_too_little_is_a_finding() {
        let figures = |assertions| Figures { files: vec![400, 600], functions: vec![], assertions };
        let check = |name: &str, assertions| {
            Measured(BTreeMap::from([(name.to_owned(), figures(assertions))])).check()
        };
        let rule = "1 assertions in 1000 lines, at least 2 per thousand";
        assert_eq!(check("broker/replica", 1), [finding("broker/replica", rule)]);
        assert!(check("broker/replica", 2).is_empty());
        assert!(check("broker/server", 0).is_empty(), "it is no core");
    }

    #[test]
    fn tests_do_not_count() {
        let mut figures = Figures::default();
        let text = "fn f() {\n    debug_assert!(x);\n}\n\n#[cfg(test)]\nmod tests {\n\
                    fn g() {\n    assert!(y);\n}\n}\n";
        measure(&mut figures, text);
        assert_eq!((figures.files[0], figures.functions, figures.assertions), (4, vec![3], 1));
        assert!(
            is_of_product(Path::new("a/src/b.rs")) && !is_of_product(Path::new("a/tests/b.rs"))
        );
        assert_eq!(spread(&[3, 1, 2]), "2/3/3");
    }
}
