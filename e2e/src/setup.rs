//! What the clients need, installed once into a cache outside the work tree: jars by Maven, a Go
//! binary, a Python environment. Every step is skipped when its inputs have not changed, so tests
//! may call it always.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Debian packages of the tools, with a file that shows that they are there.
const PACKAGES: &[(&str, &str)] = &[("kcat", "/usr/bin/kcat")];

/// Where everything is: `BARNABAS_CACHE`, or `barnabas` in the user's cache directory.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("BARNABAS_CACHE") {
        return Ok(dir.into());
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("barnabas"));
    }
    let home = std::env::var_os("HOME").context("neither HOME nor BARNABAS_CACHE is set")?;
    Ok(PathBuf::from(home).join(".cache/barnabas"))
}

/// The clients' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Everything, in the order of its cost.
pub fn all() -> Result<()> {
    packages()?;
    java()?;
    go()?;
    node()?;
    python()?;
    Ok(())
}

/// Debian packages; installing needs root.
pub fn packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, proof)| !Path::new(proof).exists())
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run(install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}

/// The class path of the official tools and of our Java scenarios.
pub fn java() -> Result<String> {
    static DONE: OnceLock<Result<String, String>> = OnceLock::new();
    once(&DONE, || {
        let (dir, from) = (cache()?.join("java"), sources().join("java"));
        let libs = jars(&dir, "libs", &from.join("pom.xml"))?;
        let class_path = format!("{}:{}/*", dir.join("classes").display(), libs.display());
        let files = files_in(&from.join("src/clients"), "java")?;
        step(&dir, "classes", &files, || {
            remove(&dir.join("classes"))?;
            let mut compiler = Command::new("javac");
            compiler.args(["-Xlint:all,-try", "-cp", &class_path, "-d"]).arg(dir.join("classes"));
            run(compiler.args(&files))
        })?;
        Ok(class_path)
    })
}

/// The class path of MirrorMaker 2.
pub fn mirror_maker() -> Result<String> {
    static DONE: OnceLock<Result<String, String>> = OnceLock::new();
    once(&DONE, || {
        let libs = jars(&cache()?.join("java"), "mirror", &sources().join("java/mirror/pom.xml"))?;
        Ok(format!("{}/*", libs.display()))
    })
}

/// The directory with the jars that a Maven project depends on.
fn jars(dir: &Path, name: &str, project: &Path) -> Result<PathBuf> {
    let libs = dir.join(name);
    step(dir, name, &[project.to_owned()], || {
        remove(&libs)?;
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "-f"]).arg(project).arg("dependency:copy-dependencies");
        run(maven.arg(format!("-DoutputDirectory={}", libs.display())))
    })?;
    Ok(libs)
}

/// The franz-go program.
pub fn go() -> Result<PathBuf> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&DONE, || {
        let (dir, from) = (cache()?.join("go"), sources().join("go"));
        let mut inputs = files_in(&from, "go")?;
        inputs.extend([from.join("go.mod"), from.join("go.sum")]);
        let program = dir.join("clients");
        step(&dir, "clients", &inputs, || {
            let mut build = Command::new("go");
            build.current_dir(&from).args(["build", "-trimpath", "-o"]);
            run(build.arg(&program).arg("."))
        })?;
        Ok(program)
    })
}

/// The directory with KafkaJS and the programs that use it.
pub fn node() -> Result<PathBuf> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&DONE, || {
        let (dir, from) = (cache()?.join("node"), sources().join("node"));
        let mut inputs = files_in(&from, "js")?;
        inputs.extend(files_in(&from, "json")?);
        step(&dir, "modules", &inputs, || {
            for input in &inputs {
                fs::copy(input, dir.join(input.file_name().context("a file's name")?))?;
            }
            let mut install = Command::new("npm");
            install.current_dir(&dir).args(["install", "--no-audit", "--no-fund"]);
            run(install.args(["--ignore-scripts", "--loglevel=error"]))
        })?;
        Ok(dir)
    })
}

/// The interpreter of the environment with both Python clients.
pub fn python() -> Result<PathBuf> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&DONE, || {
        let dir = cache()?.join("python");
        let requirements = sources().join("python/requirements.txt");
        let interpreter = dir.join("bin/python");
        step(&dir, "environment", std::slice::from_ref(&requirements), || {
            remove(&dir)?;
            // Debian's Python cannot make an environment with pip in it without one package more.
            if run(Command::new("python3").args(["-c", "import ensurepip"])).is_err() {
                install(&["python3-venv"])?;
            }
            run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
            let mut install = Command::new(&interpreter);
            install.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"]);
            run(install.arg(&requirements))
        })?;
        Ok(interpreter)
    })
}

/// The broker's binary: `BARNABAS_BROKER_BIN`, or the release build of this work tree, brought up
/// to date first.
pub fn broker() -> Result<PathBuf> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&DONE, || {
        if let Some(path) = std::env::var_os("BARNABAS_BROKER_BIN") {
            return Ok(path.into());
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        // As from a shell: `ring` is built again when what cargo says of the running package
        // changes, and the broker with it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        run(build.args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "broker",
            "--bin",
            "broker",
        ]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Ok(root.join(target.unwrap_or_else(|| "target".into())).join("release/broker"))
    })
}

fn once<T: Clone>(
    cell: &OnceLock<Result<T, String>>,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let made = cell.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.clone().map_err(anyhow::Error::msg)
}

/// Runs `make` unless its stamp says that it ran with the same inputs.
fn step(
    dir: &Path,
    name: &str,
    inputs: &[PathBuf],
    make: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        input.file_name().hash(&mut hasher);
        fs::read(input).with_context(|| input.display().to_string())?.hash(&mut hasher);
    }
    let stamp = dir.join(format!("{name}.stamp"));
    let wanted = format!("{:016x}", hasher.finish());
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    make().with_context(|| format!("setting up {name} in {}", dir.display()))?;
    fs::write(&stamp, wanted)?;
    Ok(())
}

fn files_in(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let (out, err) = (output.stdout, output.stderr);
        let text = [String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)].concat();
        bail!("{command:?} failed: {}\n{text}", output.status);
    }
    Ok(())
}
