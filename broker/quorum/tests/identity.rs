//! A node is its id and its disk: who only has the id, of a living node or of one whose disk was
//! replaced, gets no part of the quorum.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, TopicId};
use common::*;
use quorum::secret::{Guard, Secret};
use quorum::{NodeAddress, Quorum};

/// Longer than any node takes to ask for what it is not, several times.
const WHILE: Duration = Duration::from_secs(3);

/// A second process with the id of another one, at a port and with a directory of its own.
fn second(cluster: &Cluster, id: i32, dir: &str, directory: TopicId) -> Quorum {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = cluster.config(id);
    config.dir = cluster.root.path().join(dir);
    let port = listener.local_addr().unwrap().port();
    config.advertised = NodeAddress::new("127.0.0.1", port).in_directory(directory);
    config.voters.retain(|voter| voter.id != BrokerId(id));
    Quorum::start(config, listener, Arc::new(Controller::default())).unwrap()
}

fn directory_of(cluster: &Cluster, asked: i32, id: i32) -> TopicId {
    let status = cluster.nodes[&asked].status();
    let mut members = status.voters.iter().chain(&status.observers);
    members.find(|m| m.id.0 == id).map_or(TopicId::ZERO, |m| m.address.directory)
}

#[tokio::test]
async fn members_are_known_with_their_disks_from_the_beginning() {
    let mut cluster = Cluster::started(3).await;
    cluster.start(3);
    let offset = cluster.propose(1).await;
    assert_eq!(cluster.level_at(3, offset).await, 1);
    cluster
        .until("all know the disks of all", |c| {
            (0..4).all(|asked| {
                (0..4).all(|id| directory_of(c, asked, id) == c.config(id).advertised.directory)
            })
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_empty_node_with_the_id_of_a_living_one_stays_out() {
    let cluster = Cluster::started(3).await;
    cluster.propose(1).await;
    let (leader, _) = cluster.reign().await;
    let own = |id: i32, cluster: &Cluster| cluster.config(id).advertised;
    // Of the leader, and of a voter that follows.
    for id in [leader, (leader + 1) % 3] {
        let new = TopicId([77; 16]);
        let double = second(&cluster, id, &format!("double-{id}"), new);
        tokio::time::sleep(WHILE).await;
        assert!(double.status().voters.is_empty(), "it takes no part");
        let offset = cluster.propose(2).await;
        for asked in 0..3 {
            cluster.level_at(asked, offset).await;
            assert_eq!(voter_ids(&cluster.nodes[&asked].status()), [0, 1, 2]);
            assert_eq!(directory_of(&cluster, asked, id), own(id, &cluster).directory);
        }
        double.shutdown().await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_lost_disk_is_replaced_once_the_old_node_is_gone_and_stays_replaced() {
    let mut cluster = Cluster::started(3).await;
    let old = cluster.propose(1).await;
    let lost = (cluster.leader().await + 1) % 3;
    cluster.level_at(lost, old).await;
    cluster.kill(lost).await;
    let old_directory = cluster.directory(lost);
    std::fs::rename(cluster.dir(lost), cluster.root.path().join("old")).unwrap();
    cluster.start(lost);
    let new = cluster.directory(lost);
    assert_ne!(new, old_directory);
    cluster
        .until("the replacement votes", |c| {
            (0..3).all(|asked| {
                directory_of(c, asked, lost) == new
                    && voter_ids(&c.nodes[&asked].status()) == [0, 1, 2]
            })
        })
        .await;
    // The old one comes back elsewhere, with its vote and its log.
    let returned = second(&cluster, lost, "old", old_directory);
    for level in 2..4 {
        tokio::time::sleep(WHILE).await;
        let offset = cluster.propose(level).await;
        for asked in 0..3 {
            assert_eq!(cluster.level_at(asked, offset).await, level);
            assert_eq!(directory_of(&cluster, asked, lost), new);
            assert_eq!(voter_ids(&cluster.nodes[&asked].status()), [0, 1, 2]);
        }
        assert!(returned.applied_offset() < offset as i64, "it gets no entries");
        assert!(!returned.session().borrow().connected, "and no session");
        // Nor does another leader take it for the voter.
        let leader = cluster.leader().await;
        cluster.nodes[&leader].resign().await;
    }
    returned.shutdown().await;
    cluster.stop().await;
}

/// As one rolls a cluster of the version before: first all get the secret, then it is demanded.
#[tokio::test]
async fn a_secret_is_introduced_by_two_rolls() {
    let secret = Secret::new(b"the secret of this cluster").unwrap();
    let mut cluster = Cluster::new(3);
    cluster.guard = Guard::Open;
    (0..3).for_each(|id| cluster.start(id));
    cluster.propose(0).await;
    for guard in [Guard::Lenient(secret.clone()), Guard::Strict(secret)] {
        cluster.guard = guard;
        for id in 0..3 {
            cluster.kill(id).await;
            cluster.propose(1).await;
            cluster.start(id);
            let offset = cluster.propose(2).await;
            for id in 0..3 {
                assert_eq!(cluster.level_at(id, offset).await, 2);
            }
        }
    }
    // Whoever has no secret now is an outsider.
    cluster.guard = Guard::Open;
    let offset = cluster.propose(3).await;
    cluster.start(3);
    tokio::time::sleep(WHILE).await;
    assert!(cluster.nodes[&3].applied_offset() < offset as i64);
    assert!(observer_ids(&cluster.nodes[&0].status()).is_empty());
    cluster.stop().await;
}
