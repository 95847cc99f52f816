//! The active controller. A request is validated against an image and becomes records and a
//! response; the image changes only when the records are committed. What is not in the image is
//! soft state that a successor does without: liveness and the time of the next rebalance.

mod acls;
mod brokers;
mod change;
mod configs;
mod draft;
mod elections;
mod failure;
mod features;
mod isr;
mod partitions;
mod quotas;
mod reassign;
mod scram;
mod settings;
mod stops;
mod supported;
mod topics;
mod validate;

use base::BrokerId;

use crate::config::{self, ConfigLayers};
use crate::entropy::Entropy;
use crate::image::Image;
use crate::liveness::{Liveness, SessionId};
use crate::record::{ConfigResource, ControllerRecord, MetadataRecord};
use crate::request::{ControllerRequest, ControllerResponse};
use crate::voter_change::VoterChange;
use draft::Draft;
use features::Supports;
use stops::Stops;

pub use settings::ControllerSettings;
pub use supported::{SUPPORTED_FEATURES, SupportedFeature};

/// Who asks: the connection tells a broker's session.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Caller {
    /// Absent for requests of the controller's own process.
    pub session: Option<SessionId>,
}

/// What a request leads to. The response may be sent once the records are committed (at once if
/// there are none).
#[derive(Clone, Debug)]
pub struct Outcome {
    pub records: Vec<MetadataRecord>,
    pub response: ControllerResponse,
    /// To be made by the quorum before the response is sent.
    pub voters: Option<VoterChange>,
    /// The image with the records applied: for validating the next request before these are
    /// committed. To be dropped when the proposal fails.
    pub image: Image,
}

/// The controller while it is active; a new one is made with every election.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: ControllerSettings,
    liveness: Liveness,
    stops: Stops,
    supports: Supports,
    next_rebalance_at: i64,
}

impl Controller {
    /// Starts as the active controller `id` in `epoch` (the quorum's term). The records are to be
    /// proposed first.
    pub fn activate(
        settings: ControllerSettings,
        id: BrokerId,
        epoch: i64,
        image: &Image,
        now_ms: i64,
    ) -> (Controller, Vec<MetadataRecord>) {
        let predecessor = image.controller().filter(|previous| *previous != id);
        let liveness = Liveness::new(settings.liveness.clone(), image, predecessor, now_ms);
        let next_rebalance_at = now_ms + settings.rebalance_interval_ms;
        let mut draft = Draft::new(&settings, image);
        let file = ConfigLayers::of_file(&settings.static_config);
        let min_isr = config::min_insync_replicas(&file);
        draft.push(MetadataRecord::Controller(ControllerRecord {
            controller_id: id,
            controller_epoch: epoch,
            min_insync_replicas: Some(min_isr),
        }));
        if image.file_min_isr != Some(min_isr) {
            draft.reconsider_elr(&ConfigResource::BrokerDefault);
        }
        let mut records = draft.records;
        if image.features().next().is_none() {
            records.extend(features::bootstrap_records(&settings.bootstrap_features));
        }
        let stops = Stops::default();
        let supports = Supports::default();
        (Controller { settings, liveness, stops, supports, next_rebalance_at }, records)
    }

    /// Validates one request against the image.
    pub fn handle(
        &mut self,
        image: &Image,
        now_ms: i64,
        caller: Caller,
        entropy: &mut Entropy,
        request: ControllerRequest,
    ) -> Outcome {
        use ControllerRequest as Request;
        use ControllerResponse as Response;
        let mut draft = Draft::new(&self.settings, image);
        let liveness = &mut self.liveness;
        let (stops, supports) = (&mut self.stops, &mut self.supports);
        let validate_only = request.validates_only();
        let response = match request {
            Request::RegisterBroker(r) => {
                let (id, most) = (r.broker_id, r.supports);
                draft.register(liveness, caller, now_ms, r).map(|registered| {
                    supports.told(id, registered.broker_epoch, most);
                    Response::RegisterBroker(registered)
                })
            }
            Request::Heartbeat(r) => {
                let (id, epoch, most) = (r.broker_id, r.broker_epoch, r.supports);
                draft.heartbeat(liveness, stops, caller, now_ms, r).map(|beat| {
                    supports.told(id, epoch, most);
                    Response::Heartbeat(beat)
                })
            }
            Request::UnregisterBroker(r) => {
                draft.unregister(liveness, r.broker_id).map(|()| Response::UnregisterBroker)
            }
            Request::AlterIsr(r) => draft.alter_isr(r).map(Response::AlterIsr),
            Request::CreateTopics(r) => draft.create_topics(r, entropy).map(Response::CreateTopics),
            Request::DeleteTopics(r) => Ok(Response::DeleteTopics(draft.delete_topics(r))),
            Request::CreatePartitions(r) => {
                draft.create_partitions(r, entropy).map(Response::CreatePartitions)
            }
            Request::IncrementalAlterConfigs(r) => {
                Ok(Response::IncrementalAlterConfigs(draft.incremental_alter_configs(r)))
            }
            Request::AlterConfigs(r) => Ok(Response::AlterConfigs(draft.alter_configs(r))),
            Request::ElectLeaders(r) => Ok(Response::ElectLeaders(draft.elect_leaders(r))),
            Request::AlterPartitionReassignments(r) => {
                Ok(Response::AlterPartitionReassignments(draft.alter_reassignments(r)))
            }
            Request::ListPartitionReassignments(r) => {
                Ok(Response::ListPartitionReassignments(draft.list_reassignments(r)))
            }
            Request::AllocateProducerIds(r) => {
                draft.allocate_producer_ids(r).map(Response::AllocateProducerIds)
            }
            Request::UpdateFeatures(r) => {
                Ok(Response::UpdateFeatures(draft.update_features(supports, r)))
            }
            Request::CreateAcls(r) => draft.create_acls(r, entropy).map(Response::CreateAcls),
            Request::DeleteAcls(r) => draft.delete_acls(r).map(Response::DeleteAcls),
            Request::AlterScramCredentials(r) => {
                draft.alter_scram_credentials(r).map(Response::AlterScramCredentials)
            }
            Request::AlterClientQuotas(r) => {
                draft.alter_client_quotas(r).map(Response::AlterClientQuotas)
            }
            Request::ChangeVoters(change) => {
                let done = unchanged(image, Response::ChangeVoters);
                return Outcome { voters: Some(change), ..done };
            }
        };
        let outcome = match response {
            Ok(response) if !validate_only => draft.outcome(image, response),
            Ok(response) => unchanged(image, response),
            Err(error) => unchanged(image, Response::Error(error)),
        };
        self.validate();
        outcome.validate(image);
        outcome
    }

    /// A connection to the controller broke.
    pub fn session_closed(&mut self, session: SessionId, now_ms: i64) {
        self.liveness.session_closed(session, now_ms);
        self.validate();
    }

    /// Nobody listens any more where the broker of this broken session was.
    pub fn process_ended(&mut self, session: SessionId, now_ms: i64) {
        self.liveness.process_ended(session, now_ms);
        self.validate();
    }

    /// What time demands: fencing of dead brokers (all in one batch), rebalancing of leaders. The
    /// records may be committed in parts, one after the other: what was not is asked for again.
    /// Brokers whose fencing was not committed are fenced again by the next call.
    pub fn tick(&mut self, image: &Image, now_ms: i64) -> Vec<MetadataRecord> {
        let mut draft = Draft::new(&self.settings, image);
        let expired = self.liveness.expired(image, now_ms);
        let dead = draft.worth_fencing(&mut self.liveness, &expired, now_ms);
        draft.fence_all(&dead);
        if now_ms >= self.next_rebalance_at {
            self.next_rebalance_at = now_ms + self.settings.rebalance_interval_ms;
            if self.settings.auto_leader_rebalance {
                draft.rebalance_leaders();
            }
        }
        self.validate();
        draft.records
    }

    /// When [`Controller::tick`] must be called, at the latest.
    pub fn next_deadline(&self, image: &Image) -> i64 {
        self.liveness.next_deadline(image).min(self.next_rebalance_at)
    }
}

impl Draft<'_> {
    fn outcome(self, image: &Image, response: ControllerResponse) -> Outcome {
        if self.records.is_empty() {
            return unchanged(image, response);
        }
        Outcome { records: self.records, response, voters: None, image: self.image }
    }
}

fn unchanged(image: &Image, response: ControllerResponse) -> Outcome {
    Outcome { records: Vec::new(), response, voters: None, image: image.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
