//! Changes of who votes in the metadata quorum, at the active controller: the quorum makes them,
//! and what it refuses has the errors that Kafka's controllers give for the same.

use std::time::Duration;

use base::ErrorCode;
use metadata::{ControllerError, VoterChange};
use quorum::{MemberError, Quorum};

pub async fn change(quorum: &Quorum, change: VoterChange) -> Result<(), ControllerError> {
    let changed = match change {
        VoterChange::Add { voter, patience_ms } => {
            quorum.add_voter(voter, Duration::from_millis(patience_ms)).await
        }
        VoterChange::Remove { voter } => quorum.remove_voter(voter).await,
    };
    if let Err(MemberError::IsLeader(_)) = changed {
        // The successor makes the change: no voter decides about itself.
        quorum.resign().await;
    }
    changed.map_err(|error| refusal(&error))
}

fn refusal(error: &MemberError) -> ControllerError {
    let code = match error {
        MemberError::AlreadyVoter(_) => ErrorCode::DuplicateVoter,
        MemberError::NotAVoter(_) => ErrorCode::VoterNotFound,
        MemberError::LastVoter(_) => ErrorCode::InvalidRequest,
        MemberError::NotLeader { .. } | MemberError::IsLeader(_) => ErrorCode::NotController,
        MemberError::NotReady { .. }
        | MemberError::Rejected(_)
        | MemberError::Timeout
        | MemberError::Stopped => ErrorCode::RequestTimedOut,
    };
    ControllerError::new(code, error.to_string())
}
