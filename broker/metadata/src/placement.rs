//! Where new replicas go: striped over racks and brokers, so that leaders and replicas spread
//! evenly and the replicas of one partition lie in as many racks as there are. Fenced brokers come
//! last and never lead. The result depends on the arguments and the seed only.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::BrokerId;

use crate::entropy::Entropy;

/// A broker that may take replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacementBroker {
    pub id: BrokerId,
    pub rack: Option<Arc<str>>,
    pub fenced: bool,
}

/// Why replicas cannot be placed; the text is for the user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlacementError {
    #[error("The replication factor must be positive.")]
    NoReplicas,
    #[error(
        "Unable to replicate the partition {wanted} time(s): The target replication factor of \
         {wanted} cannot be reached because only {usable} broker(s) are registered or some brokers \
         have all their log directories cordoned."
    )]
    TooFewBrokers { wanted: usize, usable: usize },
    #[error(
        "Unable to replicate the partition {wanted} time(s): All brokers are currently fenced, or \
         have all their log directories cordoned."
    )]
    NoneUsable { wanted: usize },
}

/// A cyclic list from which replicas are dealt.
struct Ring {
    brokers: Vec<BrokerId>,
    next: usize,
}

struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

/// Replica lists of `partitions` new partitions, the preferred leader first.
pub fn place(
    brokers: &[PlacementBroker],
    partitions: usize,
    replication_factor: usize,
    entropy: &mut Entropy,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    if replication_factor == 0 {
        return Err(PlacementError::NoReplicas);
    }
    let (wanted, usable) = (replication_factor, brokers.len());
    if brokers.iter().all(|b| b.fenced) {
        return Err(PlacementError::NoneUsable { wanted });
    }
    if wanted > usable {
        return Err(PlacementError::TooFewBrokers { wanted, usable });
    }
    let mut racks = racks(brokers, entropy);
    let leaders = racks.iter().filter(|r| !r.unfenced.brokers.is_empty()).count();
    let mut first_rack = entropy.below(leaders);
    let mut result = Vec::with_capacity(partitions);
    for _ in 0..partitions {
        result.push(place_one(&mut racks, first_rack, replication_factor));
        first_rack = (first_rack + 1) % leaders;
    }
    Ok(result)
}

/// Racks with an unfenced broker first, each list turned by a random step.
fn racks(brokers: &[PlacementBroker], entropy: &mut Entropy) -> Vec<Rack> {
    let mut by_rack: BTreeMap<Option<Arc<str>>, Vec<&PlacementBroker>> = BTreeMap::new();
    for broker in brokers {
        by_rack.entry(broker.rack.clone()).or_default().push(broker);
    }
    let mut racks: Vec<Rack> = by_rack
        .into_values()
        .map(|members| Rack {
            unfenced: ring(&members, false, entropy),
            fenced: ring(&members, true, entropy),
        })
        .collect();
    racks.sort_by_key(|r| r.unfenced.brokers.is_empty());
    racks
}

fn ring(members: &[&PlacementBroker], fenced: bool, entropy: &mut Entropy) -> Ring {
    let mut brokers: Vec<BrokerId> =
        members.iter().filter(|b| b.fenced == fenced).map(|b| b.id).collect();
    // Shuffled, so that the followers of different topics' leaders differ too.
    for last in (1..brokers.len()).rev() {
        brokers.swap(last, entropy.below(last + 1));
    }
    Ring { brokers, next: 0 }
}

/// One partition: the leader from `first_rack`, then one replica per rack in turn; full rounds go
/// on with the racks' further brokers, fenced ones when nothing else is left in the rack.
fn place_one(racks: &mut [Rack], first_rack: usize, replication_factor: usize) -> Vec<BrokerId> {
    let leaders = racks.iter().filter(|r| !r.unfenced.brokers.is_empty()).count();
    let order: Vec<usize> = (0..leaders)
        .map(|step| (first_rack + step) % leaders)
        .chain(leaders..racks.len())
        .collect();
    let mut replicas = Vec::with_capacity(replication_factor);
    for fenced_too in [false, true] {
        while replicas.len() < replication_factor {
            let before = replicas.len();
            for &index in &order {
                let rack = &mut racks[index];
                if replicas.len() == replication_factor {
                    break;
                }
                let dealt = rack.unfenced.deal(&replicas);
                let dealt = dealt.or_else(|| rack.fenced.deal(&replicas).filter(|_| fenced_too));
                replicas.extend(dealt);
            }
            if replicas.len() == before {
                break;
            }
        }
    }
    debug_assert_eq!(replicas.len(), replication_factor, "there are brokers enough: {replicas:?}");
    let is_new = |at: usize| !replicas[..at].contains(&replicas[at]);
    debug_assert!((0..replicas.len()).all(is_new), "a broker has one replica: {replicas:?}");
    // The next partition that starts in this rack is led by the rack's next broker.
    if let Some(rack) = racks.get_mut(first_rack) {
        rack.unfenced.start_after(replicas[0]);
    }
    replicas
}

impl Ring {
    /// The next broker that is not among `taken`.
    fn deal(&mut self, taken: &[BrokerId]) -> Option<BrokerId> {
        let len = self.brokers.len();
        let step = (0..len).find(|s| !taken.contains(&self.brokers[(self.next + s) % len]))?;
        let index = (self.next + step) % len;
        self.next = (index + 1) % len;
        Some(self.brokers[index])
    }

    fn start_after(&mut self, broker: BrokerId) {
        if let Some(index) = self.brokers.iter().position(|b| *b == broker) {
            self.next = (index + 1) % self.brokers.len();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "placement_tests.rs"]
mod tests;
