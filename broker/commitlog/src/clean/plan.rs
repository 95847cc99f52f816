//! What of a log is to be cleaned, and how its segments are put together: pure decisions on what is
//! known of the segments.

use base::{Offset, TimestampMs};

/// Segments that become one at most: the files of all are renamed while the log is locked.
const GROUP_SEGMENTS_MAX: usize = 64;

/// What is known of a sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub base: Offset,
    /// Where the next segment begins.
    pub next_base: Offset,
    pub bytes: u64,
    pub index_bytes: usize,
    pub max_timestamp: TimestampMs,
}

/// How far a log may be cleaned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// Everything below was cleaned.
    pub dirty_from: Offset,
    /// Nothing at or beyond this may be: undecided, or not durable.
    pub stable: Offset,
    pub min_lag_ms: i64,
    pub now_ms: TimestampMs,
}

/// How many of the sealed segments, from the first on, may be cleaned.
pub(crate) fn cleanable(segments: &[Facts], bounds: &Bounds) -> usize {
    let is_cleanable = |segment: &&Facts| {
        let is_dirty = segment.next_base > bounds.dirty_from;
        let is_young = bounds.min_lag_ms > 0
            && segment.max_timestamp > bounds.now_ms.saturating_sub(bounds.min_lag_ms);
        segment.next_base <= bounds.stable && !(is_dirty && is_young)
    };
    segments.iter().take_while(is_cleanable).count()
}

/// How much of what may be cleaned is not.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Dirt {
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
}

impl Dirt {
    pub(crate) fn of(segments: &[Facts], dirty_from: Offset) -> Dirt {
        let mut dirt = Dirt::default();
        for segment in segments {
            match segment.next_base > dirty_from {
                true => dirt.dirty_bytes += segment.bytes,
                false => dirt.clean_bytes += segment.bytes,
            }
        }
        dirt
    }

    /// The dirty share, from 0 to 1.
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }
}

/// Lengths of the runs of segments that become one each: no larger than a segment may be.
pub(crate) fn groups(segments: &[Facts], bytes_max: u64, index_bytes_max: usize) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let (mut bytes, mut index_bytes) = (0u64, 0usize);
        let fits = rest.iter().take(GROUP_SEGMENTS_MAX).take_while(|segment| {
            bytes = bytes.saturating_add(segment.bytes);
            index_bytes = index_bytes.saturating_add(segment.index_bytes);
            let reach = segment.next_base.saturating_sub(1) - first.base;
            bytes <= bytes_max && index_bytes <= index_bytes_max && reach <= i64::from(i32::MAX)
        });
        // One alone stays one, whatever its size.
        let length = fits.count().max(1);
        groups.push(length);
        rest = &rest[length..];
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: Offset, next_base: Offset, bytes: u64, max_timestamp: i64) -> Facts {
        Facts { base, next_base, bytes, index_bytes: 8, max_timestamp }
    }

    #[test]
    fn nothing_undecided_or_young_is_cleaned() {
        let segments = [10, 20, 30, 40].map(|end| segment(end - 10, end, 100, end));
        let bounds = Bounds { dirty_from: 10, stable: 100, min_lag_ms: 0, now_ms: 50 };
        assert_eq!(cleanable(&segments, &bounds), 4);
        assert_eq!(cleanable(&segments, &Bounds { stable: 39, ..bounds }), 3);
        assert_eq!(cleanable(&segments, &Bounds { min_lag_ms: 25, ..bounds }), 2);
        // What was cleaned once may be again.
        assert_eq!(cleanable(&segments, &Bounds { min_lag_ms: 50, ..bounds }), 1);
        let dirt = Dirt::of(&segments, 10);
        assert_eq!((dirt.clean_bytes, dirt.dirty_bytes, dirt.ratio()), (100, 300, 0.75));
    }

    #[test]
    fn groups_keep_to_the_limits_of_a_segment() {
        let segments = [300, 300, 300, 900, 1200, 100].map(|bytes| segment(0, 10, bytes, 0));
        assert_eq!(groups(&segments, 1000, 1 << 20), [3, 1, 1, 1]);
        assert_eq!(groups(&segments[..3], 1000, 16), [2, 1]);
        let far =
            [segment(0, 10, 1, 0), segment(10, 1 << 33, 1, 0), segment(1 << 33, 1 << 34, 1, 0)];
        assert_eq!(groups(&far, 1000, 1 << 20), [1, 1, 1]);
        let many = vec![segment(0, 10, 1, 0); 130];
        assert_eq!(groups(&many, 1000, 1 << 20), [64, 64, 2]);
    }
}
