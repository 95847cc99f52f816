//! Carrying out what the replica core asks for, in its order, under the partition's lock. Nothing
//! here waits: followers and controller are posted to, sleepers are collected in `Wakes`.

use std::sync::Arc;

use replica::Effect;

use super::coordinator_posts::CoordinatorPost;
use super::hosted::{Partition, storage_error};
use super::outbox::FetchOrder;
use super::state::State;
use super::waits::Wakes;

impl Partition {
    pub(super) fn carry_out(self: &Arc<Self>, state: &mut State, wakes: &mut Wakes) {
        // An effect may lead to further ones; they come after those already there.
        let mut next = 0;
        while let Some(effect) = state.effect(next) {
            next += 1;
            self.carry_out_one(state, effect, wakes);
        }
        state.clear_effects();
    }

    fn carry_out_one(self: &Arc<Self>, state: &mut State, effect: Effect, wakes: &mut Wakes) {
        match effect {
            Effect::BecomeLeader { epoch, start_offset } => {
                if let Err(error) = state.mutate_log(|log| log.assign_epoch(epoch, start_offset)) {
                    storage_error(&self.id, &error);
                }
                state.follow_after_sync = None;
                self.outbox.metrics.leader_changes.inc();
                self.outbox.fetch_orders.post(&self.id, FetchOrder::Stop);
                if self.is_internal {
                    let partition = self.clone();
                    self.outbox.coordinators.post(CoordinatorPost::Leads { partition, epoch });
                }
                tracing::debug!(partition = %self.id, epoch, start_offset, "lead");
            }
            Effect::Follow { leader, epoch } => {
                let order = if state.log().must_sync() {
                    // Its fetches would report what is not durable.
                    state.follow_after_sync = Some((leader, epoch));
                    FetchOrder::Stop
                } else {
                    state.follow_after_sync = None;
                    FetchOrder::Follow { partition: self.clone(), leader, epoch }
                };
                self.outbox.fetch_orders.post(&self.id, order);
                self.not_leading();
                tracing::debug!(partition = %self.id, %leader, epoch, "follow");
            }
            Effect::Idle => {
                state.follow_after_sync = None;
                self.outbox.fetch_orders.post(&self.id, FetchOrder::Stop);
                self.not_leading();
            }
            Effect::ProposeIsr(proposal) => {
                self.outbox.isr_proposals.post(self.clone(), proposal);
            }
            Effect::HighWatermark(high_watermark) => {
                state.mutate_log(|log| log.on_high_watermark(high_watermark));
            }
            Effect::WakeConsumers => state.consumers.take(&mut wakes.fetches),
            Effect::WakeFollowers => state.followers.take(&mut wakes.fetches),
            Effect::LowWatermark => state.deletions.take(&mut wakes.fetches),
            Effect::Complete { ticket, result } => {
                if let Some((wait, slot)) = state.commits.take(ticket) {
                    wakes.produces.push((wait, slot, result));
                }
            }
        }
    }

    fn not_leading(&self) {
        if self.is_internal {
            self.outbox.coordinators.post(CoordinatorPost::LeadsNoMore(self.id.clone()));
        }
    }
}
