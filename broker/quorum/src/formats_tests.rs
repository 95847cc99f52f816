//! The stored and sent forms, byte for byte. `formats_before.txt` has what the code of commit
//! fcb66bf wrote, the last one that encoded openraft's types; `tests/before` is a node's directory
//! of that time. Neither is ever made anew: a difference is a break with brokers that run.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;

use super::*;
use crate::edge;
use crate::log::LogStore;
use crate::messages::*;
use crate::types::{LogId, StoredMembership, TypeConfig, Vote};

const BEFORE: &str = include_str!("formats_before.txt");

fn before(name: &str) -> Vec<u8> {
    let mut lines = BEFORE.lines().filter_map(|line| line.split_once(' '));
    let (_, hex) = lines.find(|(found, _)| *found == name).expect(name);
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// The old bytes mean `value`, and it is still written as these bytes.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: T) -> T {
    let bytes = before(name);
    assert_eq!(decode::<T>(&bytes).unwrap(), value, "{name}");
    assert_eq!(encode(&value).unwrap(), bytes, "{name}");
    value
}

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn ballot() -> Ballot {
    Ballot { candidate: Candidate { term: 3, node: 7 }, committed: false }
}

fn leader() -> Ballot {
    Ballot { candidate: Candidate { term: 300, node: 1 }, committed: true }
}

fn members() -> Members {
    let node = |id, host, port| (id, NodeAddress::new(host, port));
    Members {
        voters: vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 300])],
        nodes: BTreeMap::from([
            node(1, "one.example", 9093),
            node(2, "::1", 19093),
            node(300, "three", 1),
        ]),
    }
}

fn entries() -> Vec<LogEntry> {
    let records = Records(Bytes::from_static(&[1, 0x90]));
    vec![
        LogEntry { at: at(1, 0), body: Body::Blank },
        LogEntry { at: at(70_000, 129), body: Body::Records(records) },
        LogEntry { at: at(3, 5), body: Body::Members(members()) },
    ]
}

#[test]
fn what_is_stored_keeps_its_bytes() {
    let vote = same("vote", ballot());
    assert_eq!(Ballot::from(Vote::from(vote)), vote);
    let vote = same("vote-committed", leader());
    assert_eq!(Ballot::from(Vote::from(vote)), vote);
    let position = same("position", at(3, 5));
    assert_eq!(Position::from(LogId::from(position)), position);
    same("committed-some", Some(position));
    same::<Option<Position>>("committed-none", None);
    for (name, entry) in ["entry-blank", "entry-records", "entry-members"].iter().zip(entries()) {
        let entry = same(name, entry);
        assert_eq!(LogEntry::from(&edge::raft_entry(entry.clone()).unwrap()), entry);
    }
}

#[test]
fn what_is_sent_keeps_its_bytes() {
    let (previous, committed) = (Some(at(1, 4)), Some(at(1, 3)));
    let call = AppendCall { ballot: leader(), previous, entries: entries(), committed };
    let call = same("append", call);
    let request: AppendEntriesRequest<TypeConfig> = call.clone().try_into().unwrap();
    assert_eq!(AppendCall::from(request), call);
    let (previous, committed) = (None, None);
    same(
        "append-heartbeat",
        AppendCall { ballot: leader(), previous, entries: Vec::new(), committed },
    );
    for (name, reply) in [
        ("append-reply-success", AppendReply::Success),
        ("append-reply-partial", AppendReply::Partial(Some(at(1, 4)))),
        ("append-reply-partial-none", AppendReply::Partial(None)),
        ("append-reply-conflict", AppendReply::Conflict),
        ("append-reply-higher", AppendReply::HigherBallot(ballot())),
    ] {
        let reply = same(name, reply);
        let response: AppendEntriesResponse<TypeConfig> = reply.clone().into();
        assert_eq!(AppendReply::from(response), reply);
    }
}

#[test]
fn votes_and_hand_overs_keep_their_bytes() {
    let last = Some(at(1, 4));
    let asked = VoteQuestion { ballot: ballot(), last, handed_over: false };
    let mut question = same("pre-vote", asked);
    question.handed_over = true;
    let request: VoteRequest<TypeConfig> = question.clone().into();
    assert_eq!(VoteQuestion::from(request), question);
    same("vote-call", VoteCall { question, leader_died: true });
    let reply = same("vote-reply", VoteReply { ballot: ballot(), granted: true, last: None });
    let response: VoteResponse<TypeConfig> = reply.clone().into();
    assert_eq!(VoteReply::from(response), reply);
    let call = same("transfer", TransferCall { from: leader(), to: 2, last });
    let request: TransferLeaderRequest<TypeConfig> = call.clone().into();
    assert_eq!(TransferCall::from(request), call);
    let changed = TransferRefusal::BallotChanged { expected: leader(), actual: ballot() };
    let unsynced = TransferRefusal::LogNotFlushed { expected: last, actual: None };
    for (name, reply) in [
        ("transfer-reply-ok", Ok(())),
        ("transfer-reply-vote", Err(changed)),
        ("transfer-reply-log", Err(unsynced)),
    ] {
        let reply = same(name, reply);
        assert_eq!(edge::transfer_reply(edge::transfer_response(reply.clone())), reply);
    }
}

#[test]
fn snapshots_and_admission_keep_their_bytes() {
    let stored = MembersAt { at: Some(at(3, 5)), members: members() };
    assert_eq!(MembersAt::from(&StoredMembership::try_from(stored.clone()).unwrap()), stored);
    let (bytes, last) = (Records(Bytes::from_static(b"piece")), Some(at(3, 9)));
    let piece =
        SnapshotPiece { ballot: leader(), last, members: stored, offset: 4, total: 9, bytes };
    same("piece", piece);
    same("piece-reply-none", SnapshotReply { installed: None });
    same("piece-reply", SnapshotReply { installed: Some(leader()) });
    let member = Member { id: 2, address: NodeAddress::new("two", 9093) };
    same("rejoin-reply", RejoinReply::Forgotten { vote: ballot() });
    same("rejoin-reply-not-leader", RejoinReply::NotLeader(Some(member.clone())));
    same("rejoin-reply-failed", RejoinReply::Failed("no".into()));
    same("join-reply", JoinReply::CatchingUp);
    let (term, leader) = (3, Some(member.clone()));
    let standing = Standing::Initialized;
    same("status-reply", StatusReply { standing, term, leader, asker_votes: Some(true) });
    same("join", JoinCall { member, as_voter: true });
    assert_eq!(decode::<RejoinCall>(&before("rejoin")).unwrap().id, 2);
    assert!(decode::<BootstrapReply>(&before("bootstrap-reply")).unwrap().accepted);
}

/// A directory that four old nodes' cluster left behind, with a snapshot and a purged log.
#[test]
fn a_directory_of_an_old_node_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let old = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/before");
    for file in std::fs::read_dir(old).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let (_, machine) = crate::machine::MachineState::open(dir.path(), "").unwrap();
    assert_eq!(&**machine.image().cluster_id(), "test-cluster");
    assert!(machine.image().feature_level("level") >= 20);
    let log = LogStore::open(dir.path()).unwrap();
    let vote = Ballot::from(log.vote().unwrap());
    assert!(vote.committed && vote.candidate.term > 0, "{vote:?}");
    assert!(log.content().has_entries);
    assert!(crate::admission::read_mark(dir.path(), 3).unwrap());
}

/// The log of a broker of that time: what it says is still written with the same bytes, down to
/// the metadata records inside.
#[test]
fn the_entries_of_an_old_log_keep_their_bytes() {
    const LOG: &[u8] = include_bytes!("../tests/before.entries");
    let (mut at, mut kinds) = (16, BTreeSet::new());
    while at < LOG.len() {
        let len = u32::from_le_bytes(LOG[at..at + 4].try_into().unwrap()) as usize;
        let payload = &LOG[at + 16..at + 16 + len];
        let entry: LogEntry = decode(payload).unwrap();
        assert_eq!(encode(&entry).unwrap(), payload);
        if let Body::Records(Records(bytes)) = &entry.body {
            let records = metadata::decode_records(bytes).unwrap();
            kinds.extend(records.iter().map(|record| record.kind()));
            assert_eq!(metadata::encode_records(&records), &bytes[..]);
        }
        at += 16 + len;
    }
    for kind in ["Controller", "FeatureLevel", "Partition", "RegisterBroker", "Topic"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
}

#[test]
fn members_that_contradict_themselves_are_refused() {
    let mut wrong = members();
    wrong.nodes.remove(&300);
    let entry = LogEntry { at: at(1, 1), body: Body::Members(wrong) };
    assert!(edge::raft_entry(entry).is_err());
}
