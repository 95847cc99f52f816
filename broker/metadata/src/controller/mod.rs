//! The active controller: requests become records and responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::BrokerId;

use crate::entropy::Entropy;
use crate::image::Image;
use crate::liveness::{Liveness, LivenessSettings, SessionId};
use crate::record::{ControllerRecord, MetadataRecord};
use crate::request::{ControllerRequest, ControllerResponse};

/// What the controller takes from the broker's own configuration.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// `num.partitions`
    pub default_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// The broker's static config by Kafka's broker keys: the level below dynamic configs.
    pub static_config: Arc<BTreeMap<String, String>>,
    pub liveness: LivenessSettings,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance: bool,
    /// `leader.imbalance.check.interval.seconds`, in ms.
    pub rebalance_interval_ms: i64,
    /// `leader.imbalance.per.broker.percentage`
    pub leader_imbalance_percent: u32,
}

impl Default for ControllerSettings {
    fn default() -> ControllerSettings {
        ControllerSettings {
            default_partitions: 1,
            default_replication_factor: 1,
            static_config: Arc::default(),
            liveness: LivenessSettings::default(),
            auto_leader_rebalance: true,
            rebalance_interval_ms: 300_000,
            leader_imbalance_percent: 10,
        }
    }
}

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
    /// The image with the records applied: for validating the next request before these are
    /// committed. To be dropped when the proposal fails.
    pub image: Image,
}

/// The controller while it is active; a new one is made with every election.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: ControllerSettings,
    liveness: Liveness,
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
        let record = ControllerRecord { controller_id: id, controller_epoch: epoch };
        let records = vec![MetadataRecord::Controller(record)];
        (Controller { settings, liveness, next_rebalance_at }, records)
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
        let _ = (image, now_ms, caller, entropy, request);
        unimplemented!()
    }

    /// A connection to the controller broke.
    pub fn session_closed(&mut self, session: SessionId, now_ms: i64) {
        self.liveness.session_closed(session, now_ms);
    }

    /// What time demands: fencing of dead brokers, rebalancing of leaders. Records that were not
    /// committed are returned again by the next call.
    pub fn tick(&mut self, image: &Image, now_ms: i64) -> Vec<MetadataRecord> {
        let _ = (image, now_ms);
        unimplemented!()
    }

    /// When [`Controller::tick`] must be called, at the latest.
    pub fn next_deadline(&self, image: &Image) -> i64 {
        self.liveness.next_deadline(image).min(self.next_rebalance_at)
    }
}
