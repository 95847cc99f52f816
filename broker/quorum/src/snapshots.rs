//! Receiving a snapshot: pieces of a megabyte are collected in memory and installed when whole.
//! One snapshot is received at a time; a piece that does not continue it is refused, and the
//! sender begins again.

use bytes::Bytes;

use crate::core::Core;
use crate::messages::{SnapshotPiece, SnapshotReply};
use crate::rpc::Refusal;
use crate::types::{Raft, Snapshot, SnapshotMeta, Vote};

/// Largest snapshot that is received.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

/// A snapshot that is being received.
pub struct Incoming {
    vote: Vote,
    meta: SnapshotMeta,
    total: u64,
    bytes: Vec<u8>,
}

pub async fn receive(
    core: &Core,
    raft: &Raft,
    piece: SnapshotPiece,
) -> Result<SnapshotReply, Refusal> {
    let vote = piece.vote;
    let Some((meta, content)) = collect(core, piece)? else {
        return Ok(SnapshotReply { installed: None });
    };
    let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot: content }).await;
    let reply = installed.map_err(|e| Refusal::Other(e.to_string()))?;
    Ok(SnapshotReply { installed: Some(reply.vote) })
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
        let meta =
            SnapshotMeta { last_log_id: piece.last_log_id, last_membership: piece.last_membership };
        *slot = Some(Incoming { vote: piece.vote, meta, total: piece.total, bytes: Vec::new() });
    }
    let Some(incoming) = slot.as_mut().filter(|incoming| {
        incoming.vote == piece.vote
            && incoming.total == piece.total
            && incoming.meta.last_log_id == piece.last_log_id
            && incoming.bytes.len() as u64 == piece.offset
    }) else {
        return refuse("the piece does not continue the snapshot");
    };
    incoming.bytes.extend_from_slice(&bytes);
    if (incoming.bytes.len() as u64) < incoming.total {
        return Ok(None);
    }
    let whole = slot.take().map(|incoming| (incoming.meta, Bytes::from(incoming.bytes)));
    Ok(whole)
}
