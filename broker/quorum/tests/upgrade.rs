//! Data of other releases: a directory of the last one before formats had versions of their own is
//! taken over, and what a newer one wrote is left alone and waited for.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use quorum::*;
use serde::Serialize;

#[derive(Serialize)]
struct Entry<'a> {
    log_id: LogId,
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct LogId {
    leader_id: u64,
    index: u64,
}

#[derive(Serialize)]
enum Payload<'a> {
    Normal(&'a Bytes),
}

struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// A record of a kind that no release of today has.
#[derive(Serialize)]
enum Newer {
    Teleport { from: i32, to: i32 },
}

fn log_file(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.max_by_key(|path| path.extension().is_some_and(|e| e == "entries")).unwrap()
}

/// Appends a whole entry, as a newer release would have written it.
fn append_newer_entry(dir: &Path, term: u64, index: u64) {
    let mut records = vec![1];
    let newer = [Newer::Teleport { from: 1, to: 2 }];
    records.extend(rmp_serde::to_vec_named(&newer).unwrap());
    let (log_id, records) = (LogId { leader_id: term, index }, Bytes(records));
    let entry = Entry { log_id, payload: Payload::Normal(&records) };
    let payload = rmp_serde::to_vec_named(&entry).unwrap();
    let mut checked = index.to_le_bytes().to_vec();
    checked.extend(&payload);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &checked) as u32;
    let mut file = std::fs::read(log_file(dir)).unwrap();
    file.extend((payload.len() as u32).to_le_bytes());
    file.extend(crc.to_le_bytes());
    file.extend(checked);
    std::fs::write(log_file(dir), file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_named_and_waited_for_with_the_data_kept() {
    let mut cluster = Cluster::started(1).await;
    let last = cluster.propose(7).await;
    let (_, term) = cluster.reign().await;
    cluster.kill(0).await;
    append_newer_entry(&cluster.dir(0), term, last + 1);
    for _ in 0..2 {
        cluster.start(0);
        let node = &cluster.nodes[&0];
        let mut unreadable = node.unreadable();
        let found = tokio::time::timeout(PATIENCE, unreadable.wait_for(Option::is_some));
        let found = found.await.unwrap().unwrap().clone().unwrap();
        assert_eq!(found.what, format!("entry {} of the metadata log", last + 1));
        assert!(found.why.contains("Teleport"), "{found}");
        assert_eq!(node.applied_offset(), last as i64, "the image stands still before it");
        assert_eq!(node.image().feature_level("level"), 7);
        assert!(!node.leadership().borrow().is_self);
        cluster.kill(0).await;
        let bytes = std::fs::read(log_file(&cluster.dir(0))).unwrap();
        assert!(bytes.windows(8).any(|w| w == b"Teleport"), "the entry is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_newer_version_are_named_and_not_touched() {
    let mut cluster = Cluster::started(1).await;
    cluster.propose(1).await;
    cluster.kill(0).await;
    for name in ["vote".into(), log_file(&cluster.dir(0)).file_name().unwrap().to_owned()] {
        let path = cluster.dir(0).join(name);
        let good = std::fs::read(&path).unwrap();
        let mut newer = good.clone();
        newer[8] = 9;
        std::fs::write(&path, &newer).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let started = Quorum::start(cluster.config(0), listener, Arc::new(Controller::default()));
        let Err(StartError::Unreadable(unreadable)) = started else { panic!("it started") };
        assert_eq!(unreadable.what, path.display().to_string());
        assert_eq!(std::fs::read(&path).unwrap(), newer);
        std::fs::write(&path, &good).unwrap();
    }
    cluster.start(0);
    assert_eq!(cluster.leader().await, 0);
}

/// `tests/before` is the directory of observer 3 of a cluster of three voters.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_over_the_directory_that_an_older_release_left() {
    let mut cluster = Cluster::new(3);
    let before = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/before");
    std::fs::create_dir_all(cluster.dir(3)).unwrap();
    for file in std::fs::read_dir(before).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), cluster.dir(3).join(file.file_name())).unwrap();
    }
    cluster.start(3);
    // Nobody answers, so nothing is committed; the snapshot is there at once.
    let image = cluster.nodes[&3].image();
    assert!(image.feature_level("level") >= 20, "{:?}", image.feature_level("level"));
    assert_eq!(&**image.cluster_id(), "test-cluster");
    cluster.until("the old log is read", |c| c.nodes[&3].status().log_end_offset > 60).await;
    assert!(cluster.nodes[&3].unreadable().borrow().is_none());
    cluster.stop().await;
}
