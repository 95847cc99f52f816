//! Releases before and after: a broker takes over the data of the release before, waits for its
//! upgrade where a newer one wrote what it cannot read, and Kafka's tool moves the level that says
//! what may be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::clients::{kcat, tool, tool_ok};
use e2e::{ClusterConfig, http, wait, with_cluster};

const PATIENCE: Duration = Duration::from_secs(60);
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";

fn one() -> ClusterConfig {
    ClusterConfig::new(1).set("offsets.topic.num.partitions", 1)
}

/// `e2e/before` is what the broker of commit fcb66bf left behind when it was killed: a topic with
/// three records, and a group that had read two.
#[test]
fn the_data_of_the_release_before_is_taken_over() {
    with_cluster(one(), |cluster| {
        cluster.stop(1)?;
        fs::remove_dir_all(cluster.data_dir(1))?;
        let before = Path::new(env!("CARGO_MANIFEST_DIR")).join("before");
        copy(&before, &cluster.data_dir(1))?;
        let at = cluster.bootstrap();
        let read = ["-C", "-b", &at, "-t", "before", "-o", "beginning", "-e", "-q"];
        let describe = ["--bootstrap-server", &at, "describe"];
        let group = ["-b", &at, "-G", "before-group", "-c", "1", "-q", "before"];
        // The second start finds what this release wrote.
        for of_the_group in ["r3\n", "r4\n"] {
            cluster.start_broker(1)?;
            cluster.wait_broker(1)?;
            let all = kcat(&read, "")?;
            ensure!(all.starts_with("r1\nr2\nr3\n"), "{all:?}");
            let next = kcat(&group, "")?;
            ensure!(next == of_the_group, "the group goes on behind what it read: {next:?}");
            kcat(&["-P", "-b", &at, "-t", "before"], "r4\n")?;
            // In a cluster of that time nobody raised the level.
            let said = tool_ok(FEATURES, &describe, "")?;
            ensure!(level(&said)?.0 == "0", "{said}");
            cluster.stop(1)?;
        }
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        let raise = ["--bootstrap-server", &at, "upgrade", "--feature", "barnabas.version=1"];
        tool_ok(FEATURES, &raise, "")?;
        cluster.stop(1)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        let said = tool_ok(FEATURES, &describe, "")?;
        ensure!(level(&said)?.0 == "1", "{said}");
        Ok(())
    });
}

#[test]
fn a_record_of_a_newer_release_is_named_and_waited_for() {
    with_cluster(one(), |cluster| {
        cluster.admin()?.create_topic("kept", 1, 1, &[])?;
        kcat(&["-P", "-b", &cluster.bootstrap(), "-t", "kept"], "one\n")?;
        cluster.kill(1)?;
        let file = log_file(&cluster.data_dir(1))?;
        let good = fs::read(&file)?;
        append_newer_entry(&file)?;
        let newer = fs::read(&file)?;
        cluster.start_broker(1)?;
        let address = cluster.http(1);
        let named = wait::until("the kind's name in /readyz", PATIENCE, || {
            let answer = http::get(&address, "/readyz").ok();
            Ok(answer.filter(|(_, text)| text.contains("Teleport")))
        })?;
        ensure!(named.0 == 503, "{named:?}");
        ensure!(http::get(&address, "/healthz")?.0 == 200, "it is alive");
        cluster.check_alive()?;
        ensure!(fs::read(&file)?.starts_with(&newer), "what it cannot read is kept");
        cluster.stop(1)?;
        // Stands for the upgrade: the next process can read all that is there.
        fs::write(&file, good)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        let read = kcat(
            &["-C", "-b", &cluster.bootstrap(), "-t", "kept", "-o", "beginning", "-e", "-q"],
            "",
        )?;
        ensure!(read == "one\n", "{read:?}");
        Ok(())
    });
}

#[test]
fn a_file_of_a_newer_release_is_named_and_left_alone() {
    with_cluster(one(), |cluster| {
        cluster.stop(1)?;
        let vote = log_file(&cluster.data_dir(1))?.with_file_name("vote");
        let good = fs::read(&vote)?;
        let mut newer = good.clone();
        newer[8] = 9;
        fs::write(&vote, &newer)?;
        cluster.start_broker(1)?;
        let address = cluster.http(1);
        wait::until("the file's name in /readyz", PATIENCE, || {
            let answer = http::get(&address, "/readyz").ok();
            let name = vote.display().to_string();
            Ok(answer.filter(|(code, text)| *code == 503 && text.contains(&name)))
        })?;
        cluster.check_alive()?;
        ensure!(fs::read(&vote)? == newer, "the file was touched");
        cluster.stop(1)?;
        fs::write(&vote, &good)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)
    });
}

#[test]
fn kafkas_tool_describes_and_moves_feature_levels() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let at = cluster.bootstrap();
        let features =
            |args: &[&str]| tool(FEATURES, &[&["--bootstrap-server", &at][..], args].concat(), "");
        let said = features(&["describe"])?;
        let (finalized, most) = level(&said.out)?;
        ensure!(finalized == most, "a new cluster has the newest level: {}", said.out);
        let next = format!("barnabas.version={}", most.parse::<i16>()? + 1);
        let said = features(&["upgrade", "--feature", &next])?;
        let text = said.out + &said.err;
        ensure!(!said.success && text.contains("only supports versions 0-"), "{text}");
        let said = features(&["downgrade", "--feature", "barnabas.version=0"])?;
        let text = said.out + &said.err;
        ensure!(!said.success && text.contains("The metadata has records of version"), "{text}");
        let same = format!("barnabas.version={most}");
        let said = features(&["upgrade", "--feature", &same, "--dry-run"])?;
        ensure!(said.success, "{}{}", said.out, said.err);
        Ok(())
    });
}

/// Finalized level and newest supported one, as the tool prints them.
fn level(said: &str) -> Result<(String, String)> {
    let line = said.lines().find(|line| line.contains("barnabas.version"));
    let line = line.with_context(|| format!("no barnabas.version in {said}"))?;
    let word = |name: &str| {
        let after = line.split(name).nth(1)?.trim_start_matches([':', ' ', '\t']);
        after.split_whitespace().next().map(str::to_owned)
    };
    let finalized = word("FinalizedVersionLevel").unwrap_or_default();
    // A feature at level 0 is not finalized.
    let finalized = if finalized == "-" { "0".to_owned() } else { finalized };
    Ok((finalized, word("SupportedMaxVersion").context("SupportedMaxVersion")?))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The last file of the metadata log, wherever it lies below the data.
fn log_file(dir: &Path) -> Result<PathBuf> {
    find(dir)?.with_context(|| format!("no metadata log in {}", dir.display()))
}

fn find(dir: &Path) -> Result<Option<PathBuf>> {
    let mut last = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            find(&path)?
        } else {
            path.extension().is_some_and(|e| e == "entries").then_some(path)
        };
        last = last.max(found);
    }
    Ok(last)
}

/// A whole entry behind the last one, with a record of a kind that nobody knows: its MessagePack
/// by hand, in a frame of length, CRC-32C, index and payload.
fn append_newer_entry(file: &Path) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let (mut at, mut last, mut term) = (16, 0, 0);
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into()?) as usize;
        last = u64::from_le_bytes(bytes[at + 8..at + 16].try_into()?);
        let payload = &bytes[at + 16..at + 16 + length];
        let name = payload.windows(9).position(|word| word == b"leader_id");
        // Small terms are their own encoding.
        term = payload[name.context("an entry without a term")? + 9];
        at += 16 + length;
    }
    let index = last + 1;
    let records = [&[1, 0x91, 0x81, 0xa8][..], b"Teleport", &[0x80]].concat();
    let mut checked = index.to_le_bytes().to_vec();
    checked.extend([0x82, 0xa6]);
    checked.extend(b"log_id");
    checked.extend([0x82, 0xa9]);
    checked.extend(b"leader_id");
    checked.extend([term, 0xa5]);
    checked.extend(b"index");
    checked.push(0xcf);
    checked.extend(index.to_be_bytes());
    checked.push(0xa7);
    checked.extend(b"payload");
    checked.extend([0x81, 0xa6]);
    checked.extend(b"Normal");
    checked.extend([0xc4, u8::try_from(records.len())?]);
    checked.extend(records);
    let crc = record::crc::crc32c(&checked);
    bytes.extend(u32::try_from(checked.len() - 8)?.to_le_bytes());
    bytes.extend(crc.to_le_bytes());
    bytes.extend(checked);
    fs::write(file, bytes)?;
    Ok(())
}
