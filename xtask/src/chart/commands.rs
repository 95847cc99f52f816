//! What the documents tell people to type is what the tools take. Every command of a `sh` block,
//! and every line of NOTES.txt that is one, is run as it stands, with a cluster that refuses
//! connections: a tool that gets as far as asking it has understood the rest. `first_use` of
//! `e2e/kind` runs those of the README on a real cluster.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::helm::{Helm, cache};
use super::{CHART, NAMESPACE, RELEASE};
use crate::run::root;

const DOCUMENTS: &[&str] =
    &["README.md", "CONTRIBUTING.md", "charts/barnabas-operator/README.md", "manifests/README.md"];
/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// One command, as somebody would copy it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub file: String,
    pub command: String,
}

/// The commands of all documents.
pub fn told() -> Result<Vec<Told>> {
    let mut all = Vec::new();
    let mut files: Vec<String> = DOCUMENTS.iter().map(|file| (*file).to_owned()).collect();
    for entry in fs::read_dir(root().join(CHART).join("runbooks"))? {
        files.push(format!("{CHART}/runbooks/{}", entry?.file_name().to_string_lossy()));
    }
    for file in &files {
        let text = fs::read_to_string(root().join(file)).context(file.clone())?;
        let of = |command| Told { file: file.clone(), command };
        all.extend(commands(&blocks(&text)).into_iter().map(of));
    }
    let file = format!("{CHART}/templates/NOTES.txt");
    let notes = fs::read_to_string(root().join(&file)).context("NOTES.txt")?;
    let of = |command| Told { file: file.clone(), command };
    all.extend(commands(&rendered(&notes)).into_iter().filter(|c| is_tool(c)).map(of));
    Ok(all)
}

/// The faults of all commands that need nothing but a cluster.
pub fn check(helm: &Helm) -> Result<Vec<String>> {
    let kubectl = kubectl();
    if kubectl.is_none() {
        println!("==> chart: no kubectl here, what documents say of it is not tried");
    }
    let mut wrong = Vec::new();
    for Told { file, command } in told()? {
        let fault = match command.split_whitespace().next() {
            Some("kubectl") => match &kubectl {
                Some(program) => unreached(&command, program)?,
                None => None,
            },
            Some("helm") => of_helm(helm, &command)?,
            Some("docker") => of_docker(&command)?,
            _ => None,
        };
        wrong.extend(fault.map(|fault| format!("{file}: `{command}`: {fault}")));
    }
    Ok(wrong)
}

/// What stands in the blocks of shell.
pub fn blocks(document: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in document.lines() {
        match line.trim_start() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => text.extend([line, "\n"]),
            _ => {}
        }
    }
    text
}

/// Commands of a text: lines that go on after a backslash, and what is written here (`<<'EOF'`),
/// belong to the one that they began with. Comments are none.
pub fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut command = line.trim().to_owned();
        while command.ends_with('\\') {
            command.push('\n');
            command.push_str(lines.next().unwrap_or_default().trim());
        }
        if command.ends_with("<<'EOF'") {
            for line in lines.by_ref() {
                command.extend(["\n", line]);
                if line == "EOF" {
                    break;
                }
            }
        }
        if !command.is_empty() && !command.starts_with('#') {
            found.push(command);
        }
    }
    found
}

/// NOTES.txt says more than commands.
fn is_tool(command: &str) -> bool {
    ["kubectl ", "helm "].iter().any(|tool| command.starts_with(tool))
}

/// The notes as an install with default values prints them, as far as commands go.
fn rendered(notes: &str) -> String {
    let values = [
        ("{{ $namespace }}", "default"),
        ("{{ .Release.Namespace }}", NAMESPACE),
        ("{{ .Release.Name }}", RELEASE),
        ("{{ include \"barnabas.brokerImage\" . }}", "localhost/barnabas/broker:0"),
        ("Or let Helm try it: ", ""),
    ];
    let lines = notes.lines().filter(|line| !line.starts_with("{{-"));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    values.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

/// `$KUBECTL`, the PATH, or what `cargo x kind up` has fetched.
fn kubectl() -> Option<PathBuf> {
    let given = std::env::var_os("KUBECTL").map(PathBuf::from);
    let fetched = cache().ok().map(|cache| cache.join("kind/bin/kubectl"));
    let candidates = [given, Some("kubectl".into()), fetched];
    candidates.into_iter().flatten().find(|program| {
        let mut version = Command::new(program);
        let asked = version.args(["version", "--client"]).output();
        asked.is_ok_and(|output| output.status.success())
    })
}

/// What is wrong with a command that must fail only for there is no cluster.
fn unreached(command: &str, program: &PathBuf) -> Result<Option<String>> {
    let config = std::env::temp_dir().join(format!("barnabas-nowhere-{}", std::process::id()));
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{}}}}], \
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}], \
         clusters: [{{name: k, cluster: {{server: 'http://{NOWHERE}'}}}}]}}"
    );
    fs::write(&config, text)?;
    // A function of that name, so that the command itself is run letter for letter.
    let name = command.split_whitespace().next().unwrap_or_default();
    let script = format!("{name}() {{ command \"$TOOL\" \"$@\"; }}\n{command}\n");
    let mut shell = Command::new("sh");
    shell.current_dir(root()).args(["-c", &script]).stdin(Stdio::null());
    shell.env("TOOL", program).env("KUBECONFIG", &config);
    let output = shell.output().context("start sh");
    fs::remove_file(&config)?;
    let output = output?;
    let said = String::from_utf8_lossy(&output.stderr);
    let asked = said.contains(NOWHERE) && said.contains("refused");
    Ok((output.status.success() || !asked).then(|| said.trim().to_owned()))
}

/// Helm looks for the cluster before it looks for the chart: what installs is rendered besides.
fn of_helm(helm: &Helm, command: &str) -> Result<Option<String>> {
    if let Some(fault) = unreached(command, helm.program())? {
        return Ok(Some(fault));
    }
    let words = words(command);
    let [_, verb, release, chart, rest @ ..] = &words[..] else { return Ok(None) };
    if !matches!(verb.as_str(), "install" | "upgrade") {
        return Ok(None);
    }
    let fits = release == RELEASE && chart == CHART;
    if !fits {
        return Ok(Some(format!("the release is {RELEASE} and the chart {CHART}")));
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let output = helm.try_template(&rest)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then_some(said))
}

/// An image is built of a stage that is there, under the name that the chart looks for.
fn of_docker(command: &str) -> Result<Option<String>> {
    let words = words(command);
    if words.get(1).map(String::as_str) != Some("build") {
        return Ok(None);
    }
    let after = |flag: &str| {
        let at = words.iter().position(|word| word == flag)?;
        words.get(at + 1).cloned()
    };
    let (stage, tag) = (after("--target").unwrap_or_default(), after("-t").unwrap_or_default());
    let dockerfile = fs::read_to_string(root().join("Dockerfile"))?;
    if !dockerfile.lines().any(|line| line.ends_with(&format!(" AS {stage}"))) {
        return Ok(Some(format!("the Dockerfile has no stage {stage}")));
    }
    let wanted = super::image(&stage)?;
    Ok((tag != wanted).then(|| format!("the chart looks for {wanted}")))
}

/// Words of a command without quotes of its shell; what follows a `#` is a comment.
pub fn words(command: &str) -> Vec<String> {
    let words = command.split_whitespace().take_while(|word| !word.starts_with('#'));
    words.map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn commands_are_found_whole() {
        let document = "text\n```sh\n# no\nkubectl a \\\n  b\n\nkubectl apply -f - <<'EOF'\nx: 1\n\
            EOF\nhelm c   # why\n```\nkubectl d\n```yaml\nkubectl e\n```\n";
        let found = commands(&blocks(document));
        assert_eq!(
            found,
            ["kubectl a \\\nb", "kubectl apply -f - <<'EOF'\nx: 1\nEOF", "helm c   # why"]
        );
        assert_eq!(words("helm c --set 'a={b}'   # why"), ["helm", "c", "--set", "a={b}"]);
    }

    #[test]
    fn documents_tell_commands_of_each_tool() {
        let all = told().unwrap();
        for tool in ["kubectl wait", "helm install", "docker build", "cargo x"] {
            assert!(all.iter().any(|told| told.command.starts_with(tool)), "{tool}");
        }
        let notes = all.iter().filter(|told| told.file.ends_with("NOTES.txt"));
        let notes: Vec<_> = notes.map(|told| told.command.as_str()).collect();
        assert!(notes.len() > 4 && notes.iter().all(|c| !c.contains("{{")), "{notes:?}");
    }

    #[test]
    fn a_command_that_no_kubectl_takes_is_named() {
        // Without one there is nothing to try; CI has it.
        let Some(program) = kubectl() else { return };
        let wait = |what: &str| {
            let command = format!("kubectl wait {what} --all --for=condition=Ready --timeout=5m");
            unreached(&command, &program).unwrap()
        };
        assert_eq!(wait("kafkacluster,topic"), None);
        let fault = wait("kafkacluster/castle topic").unwrap();
        assert!(fault.contains("no need to specify a resource type"), "{fault}");
        let absent = unreached("kubectl apply -f manifests/absent.yaml", &program).unwrap();
        assert!(absent.unwrap().contains("does not exist"));
    }
}
