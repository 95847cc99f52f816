//! The last offset of each key in the part of a log that is to be cleaned, in bounded memory: 24
//! bytes per key, as in Kafka. Keys are known by 128 bits of hash, keyed by what the caller drew,
//! so that nobody can choose keys that are taken for one another.

use std::hash::{DefaultHasher, Hasher};

use base::Offset;

/// Two words of hash, and the offset plus one: zero is a free slot.
type Slot = [u64; 3];
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();

pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    seeds: [u64; 2],
    /// All records below are in it.
    end: Offset,
}

impl OffsetMap {
    /// For keys of at most `records` records, in at most `bytes` of memory, of which the share
    /// `load_factor` is used.
    pub fn new(bytes: usize, load_factor: f64, records: u64, seeds: [u64; 2]) -> OffsetMap {
        let load_factor = if load_factor > 0.0 { load_factor.min(0.95) } else { 0.9 };
        let wanted = (records as f64 / load_factor).ceil() as u64;
        let wanted = usize::try_from(wanted.saturating_add(2)).unwrap_or(usize::MAX);
        let slots = (bytes / SLOT_BYTES).min(wanted).max(2);
        let used_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        // Zeroed pages that are not touched take no memory.
        OffsetMap { slots: vec![[0; 3]; slots], used: 0, used_max, seeds, end: 0 }
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.seeds.map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        })
    }

    /// The slot of the key, or the free one where it would be.
    fn find(&self, hash: [u64; 2]) -> usize {
        let mut at = (hash[0] % self.slots.len() as u64) as usize;
        loop {
            let [first, second, offset] = self.slots[at];
            if offset == 0 || [first, second] == hash {
                return at;
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// Notes where a key is now; false if there is no room for another key.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.slots[at][2] == 0 {
            if self.used >= self.used_max {
                return false;
            }
            self.used += 1;
        }
        let stored = (offset as u64).saturating_add(1).max(self.slots[at][2]);
        self.slots[at] = [hash[0], hash[1], stored];
        true
    }

    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let stored = self.slots[self.find(self.hash(key))][2];
        stored.checked_sub(1).map(|offset| offset as Offset)
    }

    pub fn note_end(&mut self, end: Offset) {
        self.end = self.end.max(end);
    }

    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn keys(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_is_a_map_until_it_is_full() {
        let mut map = OffsetMap::new(SLOT_BYTES * 100, 0.9, 1 << 40, [1, 2]);
        let mut model = BTreeMap::new();
        for offset in 0..5000i64 {
            let key = format!("key-{}", (offset * 7919) % 131);
            if map.put(key.as_bytes(), offset) {
                model.insert(key, offset);
            } else {
                assert!(!model.contains_key(&key) && model.len() == 90);
            }
        }
        assert_eq!(map.keys(), 90);
        for n in 0..131 {
            let key = format!("key-{n}");
            assert_eq!(map.get(key.as_bytes()), model.get(&key).copied(), "{key}");
        }
    }

    #[test]
    fn it_takes_no_more_memory_than_there_are_records() {
        assert!(OffsetMap::new(128 << 20, 0.9, 100, [1, 2]).slots.len() < 120);
        let tiny = OffsetMap::new(1, 0.9, 100, [1, 2]);
        assert_eq!((tiny.slots.len(), tiny.used_max), (2, 1));
    }
}
