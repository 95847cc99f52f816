//! What the group looks like from outside.

use base::ErrorCode;
use bytes::Bytes;

use super::{ClassicGroup, GroupState};
use crate::{DescribedGroup, DescribedMember, ListedGroup};

impl ClassicGroup {
    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            state: self.state.name(),
            kind: "classic",
        }
    }

    /// Metadata and assignments are shown of a stable group only: before that they are in flux.
    pub(crate) fn described(&self) -> DescribedGroup {
        let stable = self.state == GroupState::Stable;
        let protocol = match &self.protocol_name {
            Some(name) if stable => name.clone(),
            _ => "".into(),
        };
        let members = self.members.values().map(|m| DescribedMember {
            member_id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            metadata: if stable { m.metadata(&protocol) } else { Bytes::new() },
            assignment: if stable { m.assignment.clone() } else { Bytes::new() },
        });
        let members = members.collect();
        DescribedGroup {
            error: ErrorCode::None,
            message: None,
            group: self.id.clone(),
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol,
            members,
        }
    }
}
