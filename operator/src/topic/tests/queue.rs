//! The queue: batches, no topic twice, and what is late.

use std::time::Duration;

use super::*;
use crate::entity::queue::Backoff;

#[tokio::test]
async fn batches_are_bounded_and_hold_each_topic_once() {
    let queue = Queue::default();
    for n in 0..250 {
        queue.push(format!("t{n}"));
        queue.push(format!("t{n}"));
    }
    queue.push_resync(["old".to_owned(), "old".to_owned()]);
    let mut sizes = Vec::new();
    let mut all = Vec::new();
    for _ in 0..3 {
        let batch = queue.batch(100).await.unwrap();
        sizes.push(batch.len());
        all.extend(batch);
    }
    assert_eq!(sizes, [100, 100, 51]);
    assert_eq!(all[0], "t0");
    assert_eq!(all.last().unwrap(), "old", "the resync comes last");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 251);
}

#[tokio::test]
async fn a_batch_waits_a_moment_for_company() {
    let queue = Arc::new(Queue::default());
    queue.push("a");
    let batch = tokio::spawn({
        let queue = queue.clone();
        async move { queue.batch(2).await }
    });
    tokio::task::yield_now().await;
    queue.push("b");
    assert_eq!(batch.await.unwrap().unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn what_is_due_later_comes_then_and_once() {
    let queue = Queue::default();
    queue.push_later("t", Duration::from_secs(3_600));
    queue.push_later("t", Duration::from_millis(20));
    queue.push_later("t", Duration::from_secs(60));
    assert_eq!(queue.batch(10).await.unwrap(), ["t"]);
    assert_eq!(queue.waiting_for("t"), None, "the other times are forgotten");
}

#[tokio::test]
async fn a_closed_queue_ends_its_worker() {
    let queue = Arc::new(Queue::default());
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.batch(2).await }
    });
    tokio::task::yield_now().await;
    queue.close();
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(queue.batch(2).await, None);
}

#[test]
fn waits_grow_and_end_with_success() {
    let mut backoff = Backoff::default();
    let waits: Vec<u64> = (0..9).map(|_| backoff.failed("t").1.as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    backoff.succeeded("t");
    assert_eq!(backoff.failed("t"), (1, Duration::from_secs(1)));
}
