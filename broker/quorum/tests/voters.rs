//! Who votes is what the quorum committed: voters are added and removed one at a time, and no
//! restart, with whatever list in its configuration, changes that.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use base::BrokerId;
use common::*;
use metadata::{MetadataRecord, UnregisterBrokerRecord};
use quorum::{MemberError, ProposeError, Voter};

const CATCH_UP: Duration = Duration::from_secs(10);

async fn add(cluster: &Cluster, id: i32) {
    let added = async |leader: &quorum::Quorum| match leader.add_voter(BrokerId(id), CATCH_UP).await
    {
        // A change that timed out happened all the same.
        Err(MemberError::AlreadyVoter(_)) => Ok(()),
        done => done,
    };
    cluster.led("the voter is added", added).await;
}

async fn remove(cluster: &Cluster, id: i32) {
    let removed = async |leader: &quorum::Quorum| match leader.remove_voter(BrokerId(id)).await {
        Err(MemberError::NotAVoter(_)) => Ok(()),
        Err(error @ MemberError::IsLeader(_)) => {
            leader.resign().await;
            Err(error)
        }
        done => done,
    };
    cluster.led("the voter is removed", removed).await;
}

async fn voters_are(cluster: &Cluster, voters: &[i32]) {
    cluster
        .until(&format!("the voters are {voters:?} for all"), |c| {
            c.nodes.values().all(|node| voter_ids(&node.status()) == voters)
        })
        .await;
}

#[tokio::test]
async fn voters_grow_to_five_and_shrink_to_one_without_losing_an_entry() {
    let mut cluster = Cluster::started(1).await;
    (1..5).for_each(|id| cluster.start(id));
    let mut level = 0;
    for id in 1..5 {
        cluster.propose(level).await;
        level += 1;
        add(&cluster, id).await;
        voters_are(&cluster, &(0..=id).collect::<Vec<_>>()).await;
    }
    // The founder goes first, whoever leads.
    for id in 0..4 {
        cluster.propose(level).await;
        level += 1;
        remove(&cluster, id).await;
        voters_are(&cluster, &(id + 1..5).collect::<Vec<_>>()).await;
    }
    let offset = cluster.propose(level).await;
    for id in 0..5 {
        assert_eq!(cluster.level_at(id, offset).await, level);
    }
    assert_eq!(cluster.leader().await, 4);
    cluster.stop().await;
}

#[tokio::test]
async fn a_removed_voter_stays_an_observer_whatever_lists_say() {
    let mut cluster = Cluster::started(3).await;
    cluster.start(3);
    remove(&cluster, 2).await;
    voters_are(&cluster, &[0, 1]).await;
    add(&cluster, 3).await;
    voters_are(&cluster, &[0, 1, 3]).await;
    let offset = cluster.propose(1).await;
    for id in 0..4 {
        assert_eq!(cluster.level_at(id, offset).await, 1);
    }
    // Once with the list of the beginning, once with a list of everybody.
    let everybody: Vec<Voter> = (0..4).map(|id| cluster.voter(id)).collect();
    for list in [cluster.voters.clone(), everybody] {
        cluster.voters = list;
        for id in 0..4 {
            cluster.kill(id).await;
        }
        (0..4).for_each(|id| cluster.start(id));
        let offset = cluster.propose(2).await;
        for id in 0..4 {
            assert_eq!(cluster.level_at(id, offset).await, 2);
        }
        // Longer than any node takes to ask for what it is not.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        voters_are(&cluster, &[0, 1, 3]).await;
        let leader = cluster.leader().await;
        assert_eq!(observer_ids(&cluster.nodes[&leader].status()), [2]);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_new_node_joins_as_an_observer_even_when_its_list_names_it() {
    let mut cluster = Cluster::started(1).await;
    cluster.propose(1).await;
    let founder = cluster.voters.clone();
    cluster.voters = vec![cluster.voter(0), cluster.voter(1), cluster.voter(2)];
    cluster.start(1);
    // This one can reach another observer only: that knows who leads.
    cluster.voters = vec![cluster.voter(1)];
    cluster.start(2);
    let offset = cluster.propose(2).await;
    assert_eq!(cluster.level_at(1, offset).await, 2);
    assert_eq!(cluster.level_at(2, offset).await, 2);
    cluster.until("both are listed", |c| observer_ids(&c.nodes[&0].status()) == [1, 2]).await;
    voters_are(&cluster, &[0]).await;
    assert_eq!(founder.len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn an_added_voter_that_lost_its_disk_returns_as_a_voter() {
    let mut cluster = Cluster::started(2).await;
    cluster.start(2);
    add(&cluster, 2).await;
    voters_are(&cluster, &[0, 1, 2]).await;
    let offset = cluster.propose(1).await;
    for id in 0..3 {
        assert_eq!(cluster.level_at(id, offset).await, 1);
    }
    cluster.kill(2).await;
    cluster.wipe(2);
    let offset = cluster.propose(2).await;
    cluster.start(2);
    assert_eq!(cluster.level_at(2, offset).await, 2);
    voters_are(&cluster, &[0, 1, 2]).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_empty_node_that_may_not_begin_waits_for_the_others() {
    let mut cluster = Cluster::started(1).await;
    cluster.start(1);
    add(&cluster, 1).await;
    remove(&cluster, 0).await;
    voters_are(&cluster, &[1]).await;
    let offset = cluster.propose(1).await;
    assert_eq!(cluster.level_at(0, offset).await, 1);
    // The founder loses its disk, its list still names only itself, and nobody else is up.
    cluster.kill(0).await;
    cluster.kill(1).await;
    cluster.wipe(0);
    cluster.may_begin = false;
    cluster.start(0);
    let wait = tokio::time::timeout(Duration::from_millis(700), cluster.leader());
    assert!(wait.await.is_err(), "a second cluster began");
    cluster.kill(0).await;
    cluster.voters = vec![cluster.voter(1)];
    cluster.start(0);
    cluster.start(1);
    assert_eq!(cluster.level_at(0, offset).await, 1);
    voters_are(&cluster, &[1]).await;
    cluster.stop().await;
}

#[tokio::test]
async fn impossible_changes_are_refused_for_what_they_are() {
    let mut cluster = Cluster::started(1).await;
    let node = cluster.nodes[&0].clone();
    let add = async |id| node.add_voter(BrokerId(id), Duration::ZERO).await.unwrap_err();
    assert_eq!(add(0).await, MemberError::AlreadyVoter(BrokerId(0)));
    assert!(matches!(add(7).await, MemberError::NotReady { .. }));
    let remove = async |id| node.remove_voter(BrokerId(id)).await.unwrap_err();
    assert_eq!(remove(0).await, MemberError::LastVoter(BrokerId(0)));
    assert_eq!(remove(7).await, MemberError::NotAVoter(BrokerId(7)));
    // An observer that is down is not made a voter: it would take the majority away.
    cluster.start(1);
    cluster.until("it joined", |c| observer_ids(&c.nodes[&0].status()) == [1]).await;
    cluster.kill(1).await;
    cluster
        .until("it counts as silent", |c| {
            let status = c.nodes[&0].status();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let silent = now.unwrap().as_millis() as i64 - status.observers[0].last_fetch_timestamp;
            silent > 1_000
        })
        .await;
    assert!(matches!(add(1).await, MemberError::NotReady { .. }));
    cluster.propose(3).await;
    cluster.start(1);
    self::add(&cluster, 1).await;
    voters_are(&cluster, &[0, 1]).await;
    drop(node);
    cluster.stop().await;
}

#[tokio::test]
async fn an_observer_that_is_gone_for_good_is_forgotten() {
    let mut cluster = Cluster::new(1);
    cluster.forget_after = Duration::from_millis(1_200);
    cluster.start(0);
    cluster.start(5);
    cluster.until("it joined", |c| observer_ids(&c.nodes[&0].status()) == [5]).await;
    let offset = cluster.propose(1).await;
    assert_eq!(cluster.level_at(5, offset).await, 1);
    cluster.kill(5).await;
    cluster.until("it is forgotten", |c| observer_ids(&c.nodes[&0].status()).is_empty()).await;
    // It was away only, after all.
    cluster.start(5);
    let offset = cluster.propose(2).await;
    assert_eq!(cluster.level_at(5, offset).await, 2);
    cluster.stop().await;
}

#[tokio::test]
async fn an_entry_that_does_not_fit_is_left_out_by_everybody() {
    let mut cluster = Cluster::started(3).await;
    cluster.propose(1).await;
    let unknown = UnregisterBrokerRecord { broker_id: BrokerId(9), broker_epoch: 9 };
    let records = vec![feature(50), MetadataRecord::UnregisterBroker(unknown)];
    // What a leader that is deposed proposes may be in the log or not.
    let mut proposed_max = 0;
    for _ in 0..ATTEMPTS {
        let (leader, term) = cluster.reign().await;
        let error = cluster.nodes[&leader].propose(term, records.clone()).await.unwrap_err();
        proposed_max += u64::from(!matches!(error, ProposeError::NotLeader { .. }));
        let stays = cluster.reigns().any(|reign| reign == (leader, term));
        if stays || matches!(error, ProposeError::Rejected(_)) {
            assert!(matches!(error, ProposeError::Rejected(_)), "{error:?}");
            break;
        }
    }
    // Nothing of it is there, on nobody, and the quorum goes on.
    let all_at_one = |c: &Cluster| {
        c.nodes.values().all(|n| {
            (1..=proposed_max).contains(&n.rejected_entries())
                && n.image().feature_level("level") == 1
        })
    };
    cluster.until("all rejected it", all_at_one).await;
    let offset = cluster.propose(2).await;
    for id in 0..3 {
        assert_eq!(cluster.level_at(id, offset).await, 2);
    }
    for id in 0..3 {
        cluster.kill(id).await;
    }
    // Replay decides as the first time.
    (0..3).for_each(|id| cluster.start(id));
    for id in 0..3 {
        assert_eq!(cluster.level_at(id, offset).await, 2);
    }
    cluster.stop().await;
}
