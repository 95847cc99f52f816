//! Replicas that move while everything else fails: reassignments to other brokers, with more or
//! fewer replicas, replaced by others half-way, and cancelled. Some seeds have none.

use std::time::Duration;

use base::BrokerId;
use metadata::{AlterReassignmentsRequest, ReassignPartition};

use crate::message::node_id;
use crate::world::{Action, World};

const LIMIT: Duration = Duration::from_millis(500);

impl World {
    /// Asks for the next reassignment, or for the end of one, through any broker.
    pub(crate) fn reassign(&mut self) {
        if self.healing() || self.reassigning.every_ms == 0 {
            return;
        }
        let pause = self.reassigning.rng.between(1, 2 * self.reassigning.every_ms);
        self.schedule(pause, Action::Reassign);
        let n = self.reassigning.rng.below(self.nodes.len());
        let tp = self.reassigning.rng.below(self.tps.len());
        let is_cancel = self.reassigning.rng.chance(250);
        let target = self.draw_target();
        if !self.nodes[n].up {
            return;
        }
        let name = self.tps[tp].clone();
        let replicas = (!is_cancel).then_some(target);
        self.trace(|_| format!("reassign {name} to {replicas:?}"));
        let partition =
            ReassignPartition { topic: name.topic, partition: name.partition, replicas };
        let request = AlterReassignmentsRequest {
            partitions: vec![partition],
            allow_replication_factor_change: true,
        };
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let controller = process.controller.clone();
        self.runtime.enter(n);
        self.spawn_now(n, async move {
            // Whatever became of it: moves are looked at by what they do.
            let _ = controller.call_within(request, LIMIT).await;
        });
    }

    /// From two brokers to all of them, in any order.
    fn draw_target(&mut self) -> Vec<BrokerId> {
        let rng = &mut self.reassigning.rng;
        let mut brokers: Vec<BrokerId> = (0..self.nodes.len()).map(node_id).collect();
        let size = rng.between(2, brokers.len() as i64) as usize;
        for at in 0..size {
            let other = at + rng.below(brokers.len() - at);
            brokers.swap(at, other);
        }
        brokers.truncate(size);
        brokers
    }

    /// Whether every partition has somebody beside this broker who has all that is committed:
    /// a move may have left it alone with that.
    pub(crate) fn is_backed(&self, n: usize) -> bool {
        let image = self.quorum.latest();
        self.tps.iter().all(|tp| {
            let partition = image.partition(&tp.topic, tp.partition);
            partition.is_none_or(|partition| {
                let others = partition.isr.iter().filter(|id| **id != node_id(n));
                !partition.in_isr(node_id(n)) || others.count() > 0
            })
        })
    }
}
