//! Circles: files of one package that name each other, directly or around corners. Two files may
//! be one thing in two pieces; more than two are a room without walls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::finding::{Finding, finding};
use super::paths::{self, Imports};
use crate::run;

/// Files that may name each other.
const FILES_MAX: usize = 2;

/// A path of modules below the root of a package; the root itself is empty.
type Module = Vec<String>;

/// Files of a package by module, with what each says of others.
#[derive(Default)]
struct Package {
    files: BTreeMap<Module, (PathBuf, Imports)>,
}

struct Circle {
    files: Vec<PathBuf>,
    /// Who names whom among them.
    arrows: Vec<String>,
}

/// The circles of all packages, by package.
pub struct Circles(BTreeMap<String, Vec<Circle>>);

impl Circles {
    pub fn of(files: &[PathBuf]) -> Result<Circles> {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        for file in files {
            let Some((package, module)) = place(file) else { continue };
            let path = run::root().join(file);
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let imports = paths::imports(&text);
            packages.entry(package).or_default().files.insert(module, (file.clone(), imports));
        }
        let circles = packages.into_iter().map(|(name, package)| (name, package.circles()));
        Ok(Circles(circles.collect()))
    }

    pub fn check(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for (package, circles) in &self.0 {
            for Circle { files, arrows } in circles.iter().filter(|c| c.files.len() > FILES_MAX) {
                let rule = format!("{} files name each other: {}", files.len(), arrows.join(", "));
                found.push(finding(package, rule));
            }
        }
        found
    }

    /// Files of the largest circle of a package; 1 where there is none.
    pub fn largest(&self, package: &str) -> usize {
        let circles = self.0.get(package).into_iter().flatten();
        circles.map(|circle| circle.files.len()).max().unwrap_or(1)
    }
}

/// Package and module of a source file; `None` for tests and for what is not of a library.
fn place(file: &Path) -> Option<(String, Module)> {
    let text = file.to_str()?.strip_suffix(".rs")?;
    let (package, rest) = text.split_once("/src/")?;
    let mut module: Module = rest.split('/').map(str::to_owned).collect();
    let is_test = |part: &String| part == "tests" || part.ends_with("_tests") || part == "testing";
    if module.iter().any(is_test) || module.first()? == "bin" {
        return None;
    }
    if matches!(module.last()?.as_str(), "mod" | "lib" | "main") {
        module.pop();
    }
    Some((package.to_owned(), module))
}

impl Package {
    fn circles(&self) -> Vec<Circle> {
        let edges: BTreeMap<&Module, BTreeSet<&Module>> =
            self.files.keys().map(|module| (module, self.named_by(module))).collect();
        let mut circles = Vec::new();
        let mut done = BTreeSet::new();
        for module in self.files.keys() {
            if done.contains(module) {
                continue;
            }
            let ahead = reach(module, &edges);
            let circle: BTreeSet<&Module> = ahead
                .iter()
                .copied()
                .filter(|other| reach(other, &edges).contains(module))
                .collect();
            if circle.len() > 1 {
                let name = |module: &Module| match module.is_empty() {
                    true => "lib".to_owned(),
                    false => module.join("::"),
                };
                let arrows = circle.iter().flat_map(|from| {
                    let to = edges[*from].iter().filter(|to| circle.contains(**to));
                    to.map(move |to| format!("{} -> {}", name(from), name(to)))
                });
                let files = circle.iter().map(|m| self.files[*m].0.clone()).collect();
                circles.push(Circle { files, arrows: arrows.collect() });
            }
            done.extend(circle);
        }
        circles
    }

    fn named_by(&self, module: &Module) -> BTreeSet<&Module> {
        let (_, imports) = &self.files[module];
        let targets = imports.paths.iter().filter_map(|path| self.resolve(module, path, 0));
        targets.filter(|target| *target != module).collect()
    }

    /// The file in which what the path names is defined: re-exports are followed.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<&Module> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let kept = from.len().checked_sub(ups)?;
                (from[..kept].to_vec(), &path[ups..])
            }
            first => {
                let child: Module = from.iter().cloned().chain([first.to_owned()]).collect();
                self.files.contains_key(&child).then_some(())?;
                (from.clone(), path)
            }
        };
        while let Some((next, after)) = rest.split_first() {
            at.push(next.clone());
            if !self.files.contains_key(&at) {
                at.pop();
                break;
            }
            rest = after;
        }
        let (home, (_, imports)) = self.files.get_key_value(&at)?;
        let exported = rest.first().and_then(|name| imports.exported.get(name));
        match exported {
            Some(target) if depth < 8 => self.resolve(home, target, depth + 1).or(Some(home)),
            _ => Some(home),
        }
    }
}

fn reach<'a>(
    from: &'a Module,
    edges: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
    while let Some(module) = next.pop() {
        for other in edges.get(module).into_iter().flatten() {
            if seen.insert(other) {
                next.push(other);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(files: &[(&str, &str)]) -> Package {
        let place = |name: &str| place(Path::new(&format!("p/src/{name}.rs"))).map(|p| p.1);
        let files = files.iter().map(|(name, text)| {
            let path = PathBuf::from(format!("{name}.rs"));
            (place(name).unwrap_or_default(), (path, paths::imports(text)))
        });
        Package { files: files.collect() }
    }

    #[test]
    fn a_circle_is_seen_around_corners_and_through_a_re_export() {
        let files = [
            ("lib", "mod a; mod b; mod c; pub use c::C;"),
            ("a", "use crate::b::{self, B};"),
            ("b", "use super::C;"),
            ("c", "fn f() { crate::a::g(); }"),
        ];
        let circles = package(&files).circles();
        assert_eq!(circles.len(), 1);
        assert_eq!(circles[0].files, ["a.rs", "b.rs", "c.rs"].map(PathBuf::from));
        assert_eq!(circles[0].arrows, ["a -> b", "b -> c", "c -> a"]);
        let found = Circles(BTreeMap::from([("p".to_owned(), circles)])).check();
        assert_eq!(found, [finding("p", "3 files name each other: a -> b, b -> c, c -> a")]);
        assert!(package(&files[..3]).circles().is_empty());
    }

    #[test]
    fn two_files_may_name_each_other() {
        let files = [("lib", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "use super::a;")];
        let circles = Circles(BTreeMap::from([("p".to_owned(), package(&files).circles())]));
        assert_eq!(circles.largest("p"), 2);
        assert!(circles.check().is_empty());
    }

    #[test]
    fn tests_name_whom_they_like() {
        assert!(place(Path::new("p/src/a/tests.rs")).is_none());
        assert!(place(Path::new("p/src/a_tests.rs")).is_none());
        let text = "use crate::b; #[cfg(test)]\nmod tests { use crate::c; }";
        assert_eq!(paths::imports(text).paths.len(), 1);
    }
}
