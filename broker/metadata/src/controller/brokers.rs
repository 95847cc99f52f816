//! The life of a broker: registration, heartbeats, fencing, controlled shutdown, unregistration.
//!
//! A new incarnation of a broker starts fenced. Unless it shut down cleanly (it names the epoch
//! that it had then), it counts as one that may have lost its unflushed tail, or its disk: it
//! leaves every ISR and ELR before it can lead anything.

use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, ErrorCode, TopicId};

use super::Caller;
use super::draft::{Draft, state_record};
use super::failure::error;
use super::stops::Stops;
use crate::image::Broker;
use crate::level::BARNABAS_VERSION;
use crate::liveness::Liveness;
use crate::record::{
    MetadataRecord, ProducerIdsRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};
use crate::request::{
    AllocateProducerIdsRequest, ControllerError, HeartbeatRequest, HeartbeatResponse,
    ProducerIdBlock, RegisterBrokerRequest, RegisterBrokerResponse,
};

/// Producer ids that a broker gets at a time.
const PRODUCER_ID_BLOCK: i32 = 1000;

impl Draft<'_> {
    pub(super) fn register(
        &mut self,
        liveness: &mut Liveness,
        caller: Caller,
        now_ms: i64,
        request: RegisterBrokerRequest,
    ) -> Result<RegisterBrokerResponse, ControllerError> {
        if request.cluster_id != *self.image.cluster_id() {
            let (expected, found) = (self.image.cluster_id(), &request.cluster_id);
            let message = format!("Expected cluster ID {expected}, but got cluster ID {found}");
            return error(ErrorCode::InconsistentClusterId, message);
        }
        let id = request.broker_id;
        if id.0 < 0 {
            return error(ErrorCode::InvalidRequest, format!("{id} is no broker ID"));
        }
        let (supports, level) = (request.supports, self.image.level());
        if supports < level {
            let message = format!(
                "Unable to register because the broker does not support finalized version {level} \
                 of {BARNABAS_VERSION}. The broker wants a version between 0 and {supports}."
            );
            return error(ErrorCode::UnsupportedVersion, message);
        }
        let existing = self.image.broker(id).cloned();
        let again = existing.as_ref().filter(|b| b.incarnation_id == request.incarnation_id);
        let broker_epoch = match again {
            Some(broker) => self.register_again(broker, request),
            // The controller's own process needs no proof that its previous one is gone.
            None if caller.session.is_some()
                && existing.is_some()
                && liveness.is_live(id, now_ms) =>
            {
                let message = format!("Another broker is registered with that broker id: {id}");
                return error(ErrorCode::DuplicateBrokerRegistration, message);
            }
            None => self.register_incarnation(existing.as_deref(), request),
        };
        liveness.heartbeat(id, broker_epoch, caller.session, -1, now_ms);
        self.note_support(id, supports);
        Ok(RegisterBrokerResponse { broker_epoch })
    }

    /// A retry, or the same process with other endpoints.
    fn register_again(&mut self, broker: &Broker, request: RegisterBrokerRequest) -> BrokerEpoch {
        let same = broker.listeners == request.listeners
            && broker.rack == request.rack
            && broker.log_dirs == request.log_dirs
            && broker.log_dir_paths == request.log_dir_paths
            && broker.cordoned_log_dirs == request.cordoned_log_dirs;
        if !same {
            self.push(registration(request, broker.epoch, true));
        }
        broker.epoch
    }

    fn register_incarnation(
        &mut self,
        previous: Option<&Broker>,
        request: RegisterBrokerRequest,
    ) -> BrokerEpoch {
        let id = request.broker_id;
        let clean_epoch = request.clean_shutdown_epoch;
        let clean = clean_epoch.is_some() && previous.map(|b| b.epoch) == clean_epoch;
        let disk_replaced =
            previous.is_some_and(|b| are_other_disks(&b.log_dirs, &request.log_dirs));
        let epoch = self.image.next_broker_epoch;
        self.change_brokers([registration(request, epoch, false)], |draft| {
            if clean && !disk_replaced {
                draft.remove_from_isrs(&[id]);
            } else {
                draft.remove_after_unclean_shutdown(id, disk_replaced);
            }
            draft.forget_offline(id);
        });
        epoch
    }

    pub(super) fn heartbeat(
        &mut self,
        liveness: &mut Liveness,
        stops: &mut Stops,
        caller: Caller,
        now_ms: i64,
        request: HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ControllerError> {
        let id = request.broker_id;
        let broker = self.check_broker(id, request.broker_epoch)?;
        liveness.heartbeat(id, broker.epoch, caller.session, request.image_offset, now_ms);
        let caught_up = request.image_offset >= broker.registered_at;
        // Before it may be unfenced: nothing is to be led by a log that cannot be used.
        self.take_offline(id, &request.offline);
        let mut should_shut_down = false;
        if request.want_shutdown {
            stops.asked(&broker, now_ms);
            should_shut_down = self.controlled_shutdown(liveness, stops, &broker, now_ms);
        } else if request.want_fence {
            self.fence(id);
        } else if broker.fenced && caught_up && !broker.in_controlled_shutdown {
            self.push(MetadataRecord::UnfenceBroker(state_record(&broker)));
            self.elect_leaderless();
        }
        let fenced = self.image.broker(id).is_none_or(|b| b.fenced);
        let silence_ms = self.settings.liveness.silence_ms;
        Ok(HeartbeatResponse { caught_up, fenced, should_shut_down, silence_ms })
    }

    /// Moves the broker's leaderships, once. It may stop when it leads nothing and every other
    /// broker's image says so: then no follower fetches from it and no client is sent to it.
    /// Before that it may be kept for a while, for replicas that are on their way back.
    fn controlled_shutdown(
        &mut self,
        liveness: &Liveness,
        stops: &Stops,
        broker: &Broker,
        now_ms: i64,
    ) -> bool {
        if broker.fenced {
            return true;
        }
        if !broker.in_controlled_shutdown {
            if self.is_worth_waiting(stops, broker, now_ms) {
                return false;
            }
            let shutdown = MetadataRecord::BrokerShutdown(state_record(broker));
            self.change_brokers([shutdown], |draft| draft.remove_from_isrs(&[broker.id]));
            return false;
        }
        self.image.partitions_led_by(broker.id).next().is_none()
            && liveness.all_reached(&self.image, broker.shutdown_at, broker.id)
    }

    /// The registered broker, if the epoch is its own.
    pub(super) fn check_broker(
        &self,
        id: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Arc<Broker>, ControllerError> {
        match self.image.broker(id) {
            None => {
                error(ErrorCode::BrokerIdNotRegistered, format!("Broker {id} is not registered"))
            }
            Some(broker) if broker.epoch != epoch => {
                let message = format!("Expected broker epoch {}, but got {epoch}", broker.epoch);
                error(ErrorCode::StaleBrokerEpoch, message)
            }
            Some(broker) => Ok(broker.clone()),
        }
    }

    pub(super) fn unregister(
        &mut self,
        liveness: &mut Liveness,
        id: BrokerId,
    ) -> Result<(), ControllerError> {
        let Some(broker) = self.image.broker(id).cloned() else {
            let message = format!("Broker ID {id} is not currently registered");
            return error(ErrorCode::BrokerIdNotRegistered, message);
        };
        self.fence(id);
        let record = UnregisterBrokerRecord { broker_id: id, broker_epoch: broker.epoch };
        self.push(MetadataRecord::UnregisterBroker(record));
        liveness.forget(id);
        Ok(())
    }

    pub(super) fn allocate_producer_ids(
        &mut self,
        request: AllocateProducerIdsRequest,
    ) -> Result<ProducerIdBlock, ControllerError> {
        self.check_broker(request.broker_id, request.broker_epoch)?;
        let first = self.image.next_producer_id();
        let Some(next_producer_id) = first.checked_add(i64::from(PRODUCER_ID_BLOCK)) else {
            return error(ErrorCode::UnknownServerError, "Exhausted all producerIds");
        };
        self.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id,
        }));
        Ok(ProducerIdBlock { first, len: PRODUCER_ID_BLOCK })
    }
}

fn registration(r: RegisterBrokerRequest, epoch: BrokerEpoch, update: bool) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: r.broker_id,
        incarnation_id: r.incarnation_id,
        broker_epoch: epoch,
        listeners: r.listeners,
        rack: r.rack,
        log_dirs: r.log_dirs,
        log_dir_paths: r.log_dir_paths,
        cordoned_log_dirs: r.cordoned_log_dirs,
        update,
    })
}

/// The broker came back with none of the directories it had.
fn are_other_disks(before: &[TopicId], now: &[TopicId]) -> bool {
    !before.is_empty() && !now.iter().any(|dir| before.contains(dir))
}
