//! The limit of open files: raised as far as it goes at the start, and what the logs may take of
//! it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Segment and index files open at once, where the limit allows it.
const CACHED_MAX: usize = 4096;
/// Below this, every read would open its file anew.
const CACHED_MIN: usize = 64;

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
}
