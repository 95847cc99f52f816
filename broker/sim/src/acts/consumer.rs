//! A consumer that reads one partition from the start, from the replica that the leader names. What
//! it sees must be the committed history, without a gap and never beyond the high watermark that it
//! is told.

use base::{ErrorCode, Offset};
use replica::{ConsumerFetch, Isolation};
use wire::messages::fetch_response::PartitionData;

use crate::check::Property;
use crate::client::{Client, Consumer};
use crate::content::{BatchId, batch_ids, index_at};
use crate::message::{Body, Tp};
use crate::world::World;

const POLL_MS: i64 = 60;
const REQUEST_TIMEOUT_MS: i64 = 400;

impl World {
    fn consumer(&mut self, client: usize) -> Option<&mut Consumer> {
        match &mut self.clients[client] {
            Client::Consumer(consumer) => Some(consumer),
            _ => None,
        }
    }

    pub(crate) fn consumer_timer(&mut self, client: usize) {
        self.client_after(POLL_MS, client);
        let (now, id) = (self.now_ms, self.fresh_id());
        let Some(consumer) = self.consumer(client) else { return };
        let tp = consumer.tp;
        if let Some((_, sent)) = consumer.request {
            if now - sent < REQUEST_TIMEOUT_MS {
                return;
            }
            consumer.lost();
        }
        consumer.request = None;
        if consumer.leader.is_none() {
            let found = self.find_leader_epoch(tp);
            let Some(consumer) = self.consumer(client) else { return };
            let found = found.filter(|&(_, epoch)| epoch >= consumer.leader_epoch);
            if let Some((leader, epoch)) = found {
                consumer.leader = Some(leader);
                consumer.leader_epoch = epoch;
            }
        }
        let Some(consumer) = self.consumer(client) else { return };
        let Some(leader) = consumer.leader else { return };
        let replica = consumer.preferred.unwrap_or(leader);
        consumer.request = Some((id, now));
        let fetch = ConsumerFetch {
            current_leader_epoch: consumer.leader_epoch,
            fetch_offset: consumer.position,
            last_fetched_epoch: consumer.last_epoch,
            isolation: Isolation::ReadUncommitted,
            any_replica: true,
        };
        self.send_request(client, replica, Body::Consume { id, tp, fetch });
    }

    pub(crate) fn consumed(&mut self, client: usize, id: u64, data: PartitionData) {
        let Some(consumer) = self.consumer(client) else { return };
        if consumer.request.is_none_or(|(expected, _)| expected != id) {
            return;
        }
        consumer.request = None;
        let (tp, position) = (consumer.tp, consumer.position);
        match ErrorCode::from_i16(data.error_code) {
            Some(ErrorCode::None) if data.preferred_read_replica >= 0 => {
                consumer.preferred = Some(data.preferred_read_replica as usize);
            }
            Some(ErrorCode::None) => self.read_by_consumer(client, tp, position, data),
            // It may be behind: the leader knows.
            Some(ErrorCode::OffsetOutOfRange) if consumer.preferred.is_some() => {
                consumer.preferred = None;
            }
            Some(ErrorCode::OffsetOutOfRange) => {
                self.out_of_range(client, tp, data.log_start_offset, position);
            }
            _ => consumer.lost(),
        }
    }

    /// Records that were deleted are skipped. Beyond the end a consumer never is: a new leader may
    /// not have heard yet how much is committed, but it has it all.
    fn out_of_range(&mut self, client: usize, tp: Tp, start: Offset, position: Offset) {
        if start <= position {
            let detail = format!("partition {tp}: consumer at {position} is out of range");
            return self.fail(Property::HighWatermarkContent, detail);
        }
        if let Some(consumer) = self.consumer(client) {
            consumer.position = start;
            consumer.last_epoch = -1;
        }
    }

    fn read_by_consumer(&mut self, client: usize, tp: Tp, position: Offset, data: PartitionData) {
        if data.diverging_epoch.epoch >= 0 {
            let detail = format!("partition {tp}: consumer at {position} diverges: {data:?}");
            return self.fail(Property::HighWatermarkContent, detail);
        }
        let mut next = position;
        let mut last_epoch = None;
        for batch in batch_ids(&data.records.into_bytes().unwrap_or_default()) {
            let committed = &self.checks.committed[tp];
            let known = committed.get(index_at(committed, batch.base));
            if known != Some(&batch) || batch.base > next || batch.last >= data.high_watermark {
                let (known, read) = (known.map(BatchId::text), batch.text());
                let detail =
                    format!("partition {tp} at {next}: read {read}, committed is {known:?}");
                return self.fail(Property::HighWatermarkContent, detail);
            }
            next = batch.last + 1;
            last_epoch = Some(batch.epoch);
        }
        let Some(consumer) = self.consumer(client) else { return };
        consumer.position = next;
        consumer.last_epoch = last_epoch.unwrap_or(consumer.last_epoch);
        self.mix(&[11, next as u64]);
    }
}
