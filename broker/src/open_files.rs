//! The limit of open files: raised as far as it goes at the start, and what the logs may take of
//! it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Segment and index files open at once, where the limit allows it.
const CACHED_MAX: usize = 4096;
/// Below this, every read would open its file anew.
const CACHED_MIN: usize = 64;

/// Descriptors that neither logs nor connections get.
const RESERVE_MIN: usize = 64;
const RESERVE_MAX: usize = 2048;
/// With fewer nobody could be served.
const CONNECTIONS_MIN: usize = 16;

/// Raises this process's limit to what its superior allows. Shells and service managers commonly
/// set 1,024, which connections and logs together exceed early, and a higher one by its side.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "raise the limit of open files");
    }
}

/// How many files of logs may be open at once: half of the limit is for connections.
pub fn cached_max() -> usize {
    share(getrlimit(Resource::Nofile).current)
}

/// How many connections there may be at once: what logs and the reserve leave.
pub fn connections_max() -> usize {
    connections(getrlimit(Resource::Nofile).current)
}

/// The reserve is for what must not fail for want of a descriptor: the metadata log, checkpoints,
/// logs that are opened beside the cached ones, the brokers' sessions and probes.
fn connections(limit: Option<u64>) -> usize {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return usize::MAX;
    };
    let reserve = (limit / 4).clamp(RESERVE_MIN, RESERVE_MAX);
    limit.saturating_sub(share(Some(limit as u64)) + reserve).max(CONNECTIONS_MIN)
}

fn share(limit: Option<u64>) -> usize {
    let half = limit.map_or(usize::MAX, |limit| usize::try_from(limit / 2).unwrap_or(usize::MAX));
    half.clamp(CACHED_MIN, CACHED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_goes_as_far_as_it_may() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn logs_leave_half_of_the_limit_to_connections() {
        assert_eq!(share(Some(1024)), 512);
        assert_eq!(share(Some(1 << 20)), CACHED_MAX);
        assert_eq!(share(None), CACHED_MAX);
        assert_eq!(share(Some(10)), CACHED_MIN);
    }

    #[test]
    fn logs_and_connections_leave_a_reserve() {
        for limit in [256, 1024, 4096, 20_000, 1 << 20] {
            let left = limit - share(Some(limit)) as u64 - connections(Some(limit)) as u64;
            assert!(left >= 64, "{limit} leaves {left}");
        }
        assert_eq!(connections(Some(1024)), 256);
        assert_eq!(connections(None), usize::MAX);
        assert_eq!(connections(Some(10)), CONNECTIONS_MIN);
    }
}
