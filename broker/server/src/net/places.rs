//! Places for connections, as Kafka's `ConnectionQuotas`: `max.connections` counts for the broker,
//! and descriptors that logs and metadata need are never given to connections. A listener waits
//! while there is no place. The brokers' own listener, where it is not the only one, waits for
//! nobody: for one connection too many there, the longest unused one of another listener goes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;

use process::clock;

/// Connections to the brokers' own listener may go so far beyond the places that descriptors allow,
/// until those that go for them are gone: a part of the descriptors' reserve.
const BEYOND_MAX: usize = 64;

/// All connections of clients and other brokers.
#[derive(Debug)]
pub struct Places {
    /// What the descriptors allow.
    descriptors_max: usize,
    open: Mutex<Open>,
    /// One went.
    freed: Notify,
    gauge: IntGauge,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_ip: HashMap<IpAddr, usize>,
    connections: HashMap<u64, Arc<Occupant>>,
}

/// What a connection shows of itself.
#[derive(Debug)]
pub struct Occupant {
    is_protected: bool,
    used_ms: AtomicI64,
    eviction: Notify,
    is_evicted: std::sync::atomic::AtomicBool,
}

impl Occupant {
    /// A request came or a reply went.
    pub fn used(&self) {
        self.used_ms.store(clock::monotonic_ms(), Ordering::Relaxed);
    }

    /// Completes when the connection is to go.
    pub async fn evicted(&self) {
        self.eviction.notified().await;
    }
}

/// Gives its place back when the connection ends.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    ip: IpAddr,
    pub occupant: Arc<Occupant>,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `max.connections.per.ip`
    Address,
    /// `max.connections` or the limit of descriptors.
    Full,
}

/// Limits that may change at run time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    pub per_ip_max: usize,
}

impl Places {
    pub fn new(descriptors_max: usize, gauge: IntGauge) -> Arc<Places> {
        let (open, freed) = Default::default();
        Arc::new(Places { descriptors_max, open, freed, gauge })
    }

    /// Whether an unprotected listener may accept.
    fn has_room(&self, limits: Limits) -> bool {
        self.open.lock().connections.len() < limits.connections_max.min(self.descriptors_max)
    }

    /// Waits until an unprotected listener may accept. `limits` is asked again at times: they may
    /// have been raised.
    pub async fn room(&self, limits: impl Fn() -> Limits) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.has_room(limits()) {
                return;
            }
            // An altered limit is not told.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), freed).await;
        }
    }

    /// Takes a place for a connection that was accepted.
    pub fn take(
        self: &Arc<Self>,
        ip: IpAddr,
        is_protected: bool,
        limits: Limits,
    ) -> Result<Place, Refusal> {
        let mut open = self.open.lock();
        if open.by_ip.get(&ip).copied().unwrap_or(0) >= limits.per_ip_max {
            return Err(Refusal::Address);
        }
        let max = limits.connections_max.min(self.descriptors_max);
        let count = open.connections.len();
        if count >= max {
            // Beyond what descriptors allow only as long as somebody is on the way out.
            let has_descriptor = count < self.descriptors_max.saturating_add(BEYOND_MAX);
            if !is_protected
                || !has_descriptor
                || !open.evict_one() && count >= self.descriptors_max
            {
                return Err(Refusal::Full);
            }
        }
        *open.by_ip.entry(ip).or_default() += 1;
        let number = open.next;
        open.next += 1;
        let occupant = Arc::new(Occupant {
            is_protected,
            used_ms: AtomicI64::new(clock::monotonic_ms()),
            eviction: Notify::new(),
            is_evicted: false.into(),
        });
        open.connections.insert(number, occupant.clone());
        self.gauge.inc();
        Ok(Place { places: self.clone(), number, ip, occupant })
    }
}

impl Open {
    /// The longest unused connection that is not protected is to go; false if there is none.
    fn evict_one(&mut self) -> bool {
        let may_go = |o: &&Arc<Occupant>| !o.is_protected && !o.is_evicted.load(Ordering::Relaxed);
        let unprotected = self.connections.values().filter(may_go);
        let oldest = unprotected.min_by_key(|o| o.used_ms.load(Ordering::Relaxed));
        if let Some(oldest) = oldest {
            oldest.is_evicted.store(true, Ordering::Relaxed);
            oldest.eviction.notify_one();
        }
        oldest.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.places;
        places.gauge.dec();
        let mut open = places.open.lock();
        open.connections.remove(&self.number);
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
        drop(open);
        places.freed.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn places(descriptors_max: usize) -> Arc<Places> {
        Places::new(descriptors_max, IntGauge::new("connections", "test").unwrap())
    }

    fn limits(connections_max: usize, per_ip_max: usize) -> Limits {
        Limits { connections_max, per_ip_max }
    }

    fn is_to_go(place: &Place) -> bool {
        let mut evicted = Box::pin(place.occupant.evicted());
        evicted.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn descriptors_bound_what_the_configuration_does_not() {
        let places = places(2);
        let limits = limits(usize::MAX, usize::MAX);
        let first = places.take(IP, false, limits).unwrap();
        let _second = places.take(IP, false, limits).unwrap();
        assert_eq!(places.take(IP, false, limits).unwrap_err(), Refusal::Full);
        assert!(!places.has_room(limits));
        drop(first);
        assert!(places.has_room(limits));
    }

    #[test]
    fn the_brokers_listener_takes_the_place_of_the_longest_unused_client() {
        let places = places(100);
        let limits = limits(2, usize::MAX);
        let first = places.take(IP, false, limits).unwrap();
        let second = places.take(IP, false, limits).unwrap();
        first.occupant.used_ms.store(20, Ordering::Relaxed);
        second.occupant.used_ms.store(10, Ordering::Relaxed);
        let broker = places.take(IP, true, limits).unwrap();
        assert!(is_to_go(&second) && !is_to_go(&first));
        // It is not gone yet, and the next one takes another's place.
        let _another = places.take(IP, true, limits).unwrap();
        assert!(is_to_go(&first) && !is_to_go(&broker));
        // With clients on their way out and nobody else to go: `max.connections` binds no broker.
        let _third = places.take(IP, true, limits).unwrap();
        assert!(!is_to_go(&broker), "brokers do not drive each other out");
    }

    #[test]
    fn not_even_brokers_go_far_beyond_the_descriptors() {
        let places = places(1);
        let limits = limits(usize::MAX, usize::MAX);
        let _only = places.take(IP, true, limits).unwrap();
        assert_eq!(places.take(IP, true, limits).unwrap_err(), Refusal::Full);
    }

    #[test]
    fn an_address_has_its_own_limit_on_every_listener() {
        let places = places(100);
        let limits = limits(100, 1);
        let place = places.take(IP, false, limits).unwrap();
        assert_eq!(places.take(IP, true, limits).unwrap_err(), Refusal::Address);
        drop(place);
        assert!(places.take(IP, false, limits).is_ok());
    }

    #[test]
    fn a_listener_waits_for_a_place() {
        let places = places(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let place = places.take(IP, false, limits(9, 9)).unwrap();
        runtime.block_on(async {
            let waiting = places.room(|| limits(9, 9));
            tokio::pin!(waiting);
            let first = futures::future::poll_immediate(waiting.as_mut()).await;
            assert_eq!(first, None, "there is none");
            drop(place);
            waiting.await;
        });
    }
}
