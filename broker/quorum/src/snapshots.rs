//! Receiving a snapshot: pieces of a megabyte are collected in memory and installed when whole.
//! One snapshot is received at a time; a piece that does not continue it is refused, and the
//! sender begins again.

use bytes::Bytes;

use crate::core::Core;
use crate::formats::{SnapshotHead, Unreadable};
use crate::incoming::Incoming;
use crate::machine::Raft;
use crate::machine::read_image;
use crate::messages::{SnapshotPiece, SnapshotReply};
use crate::rpc::Refusal;
use crate::types::{Snapshot, SnapshotMeta, Vote};

/// Largest snapshot that is received.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

pub async fn receive(
    core: &Core,
    raft: &Raft,
    piece: SnapshotPiece,
) -> Result<SnapshotReply, Refusal> {
    let vote = Vote::from(piece.ballot);
    let Some((meta, content)) = collect(core, piece)? else {
        return Ok(SnapshotReply { installed: None });
    };
    let readable = read_image(&content, "the leader's snapshot");
    if let Err(error) = &readable
        && let Some(unreadable) = Unreadable::inside(error)
    {
        core.machine.wait_for_upgrade(unreadable.clone());
    }
    readable.map_err(|e| Refusal::Other(e.to_string()))?;
    let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot: content }).await;
    let reply = installed.map_err(|e| Refusal::Other(e.to_string()))?;
    Ok(SnapshotReply { installed: Some(reply.vote.into()) })
}

fn collect(core: &Core, piece: SnapshotPiece) -> Result<Option<(SnapshotMeta, Bytes)>, Refusal> {
    let refuse = |what: &str| Err(Refusal::Other(what.to_owned()));
    let bytes = piece.bytes.0;
    let end = piece.offset.checked_add(bytes.len() as u64);
    if piece.total > SNAPSHOT_BYTES_MAX || end.is_none_or(|end| end > piece.total) {
        return refuse("the snapshot's length is out of bounds");
    }
    let mut slot = core.incoming_snapshot.lock();
    if piece.offset == 0 {
        let head = SnapshotHead { last: piece.last, members: piece.members };
        *slot =
            Some(Incoming { ballot: piece.ballot, head, total: piece.total, bytes: Vec::new() });
    }
    let Some(incoming) = slot.as_mut().filter(|incoming| {
        incoming.ballot == piece.ballot
            && incoming.total == piece.total
            && incoming.head.last == piece.last
            && incoming.bytes.len() as u64 == piece.offset
    }) else {
        return refuse("the piece does not continue the snapshot");
    };
    incoming.bytes.extend_from_slice(&bytes);
    if (incoming.bytes.len() as u64) < incoming.total {
        return Ok(None);
    }
    let Some(incoming) = slot.take() else { return Ok(None) };
    let meta = SnapshotMeta::try_from(incoming.head).map_err(|e| Refusal::Other(e.to_string()))?;
    Ok(Some((meta, Bytes::from(incoming.bytes))))
}
