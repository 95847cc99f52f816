//! What requests say over the life of a session, and when partitions pause.

use super::*;

const CONFIG: ReplicaConfig = ReplicaConfig {
    lag_time_ms_max: 30_000,
    fetch_bytes_max: 1 << 20,
    fetch_response_bytes_max: 10 << 20,
    fetch_wait_ms_max: 500,
    fetch_bytes_min: 1,
    fetch_backoff_ms: 1000,
    hw_checkpoint_interval_ms: 5000,
    consumer_fetch_bytes_max: 50 << 20,
    fetch_sessions_max: 1000,
    rack_aware_reads: false,
};
const ME: Fetcher = Fetcher { broker: BrokerId(2), epoch: 7 };
const BACKOFF_MS: i64 = 1000;

fn key(topic: u8, partition: i32) -> Key {
    (TopicId([topic; 16]), partition)
}

fn end(offset: Offset, last_epoch: LeaderEpoch) -> LogEnd {
    LogEnd { offset, last_epoch, log_start: 0 }
}

fn at(epoch: LeaderEpoch, offset: Offset) -> Position {
    Position::new(epoch, end(offset, epoch - 1))
}

/// What a request names: partitions with their offsets, and forgotten ones.
fn named(request: &FetchRequest) -> (Vec<(Key, Offset)>, Vec<Key>) {
    let topics = request.topics.iter();
    let asked = topics.flat_map(|topic| {
        let of = |p: &FetchPartition| ((topic.topic_id, p.partition), p.fetch_offset);
        topic.partitions.iter().map(of)
    });
    let topics = request.forgotten_topics_data.iter();
    let forgotten =
        topics.flat_map(|topic| topic.partitions.iter().map(|&number| (topic.topic_id, number)));
    (asked.collect(), forgotten.collect())
}

fn request(session: &mut FetchSession, now_ms: i64) -> (Vec<(Key, Offset)>, Vec<Key>) {
    named(&session.request(now_ms, ME, &CONFIG))
}

/// A session with two partitions that the leader knows.
fn established() -> FetchSession {
    let mut session = FetchSession::default();
    session.follow(key(1, 0), at(3, 10));
    session.follow(key(1, 1), at(3, 20));
    request(&mut session, 0);
    session.answered(42);
    session
}

#[test]
fn the_first_request_names_everything_by_topic() {
    let mut session = FetchSession::default();
    session.follow(key(2, 0), at(5, 1));
    session.follow(key(1, 1), at(3, 20));
    session.follow(key(1, 0), at(3, 10));
    let request = session.request(0, ME, &CONFIG);
    assert_eq!((request.session_id, request.session_epoch), (0, 0));
    assert_eq!((request.max_wait_ms, request.min_bytes), (500, 1));
    assert_eq!(request.replica_state, ReplicaState { replica_id: 2, replica_epoch: 7 });
    assert_eq!(request.topics.len(), 2);
    assert_eq!(request.topics[0].topic_id, TopicId([1; 16]));
    let expected = FetchPartition {
        partition: 1,
        current_leader_epoch: 3,
        fetch_offset: 20,
        last_fetched_epoch: 2,
        log_start_offset: 0,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    assert_eq!(request.topics[0].partitions[1], expected);
    assert!(request.forgotten_topics_data.is_empty());
}

#[test]
fn further_requests_name_what_changed_only() {
    let mut session = established();
    assert!(!session.has_news());
    session.advance(key(1, 1), end(25, 3));
    session.advance(key(1, 0), end(10, 2));
    let next = session.request(0, ME, &CONFIG);
    assert_eq!((next.session_id, next.session_epoch), (42, 1));
    assert_eq!(named(&next), (vec![(key(1, 1), 25)], vec![]));
    session.answered(42);
    session.remove(key(1, 0));
    session.follow(key(2, 0), at(1, 0));
    assert!(session.has_news(), "a new partition does not wait for the long poll");
    let next = session.request(0, ME, &CONFIG);
    assert_eq!((next.session_id, next.session_epoch), (42, 2));
    assert_eq!(named(&next), (vec![(key(2, 0), 0)], vec![key(1, 0)]));
}

#[test]
fn a_removal_alone_does_not_end_a_long_poll() {
    let mut session = established();
    session.remove(key(1, 0));
    assert!(!session.has_news() && !session.is_empty());
    session.remove(key(1, 1));
    assert!(session.is_empty() && session.is_idle());
}

#[test]
fn a_partition_that_comes_back_is_not_forgotten_as_well() {
    let mut session = established();
    session.remove(key(1, 0));
    session.follow(key(1, 0), at(4, 10));
    assert_eq!(session.told(key(1, 0)), None, "an answer under way is of another time");
    assert_eq!(request(&mut session, 0), (vec![(key(1, 0), 10)], vec![]));
}

#[test]
fn answers_belong_to_what_was_told() {
    let mut session = established();
    session.follow(key(1, 0), at(4, 10));
    assert_eq!(session.told(key(1, 0)), Some(at(3, 10)), "the request under way says epoch 3");
    assert_eq!(session.epoch_of(key(1, 0)), Some(4));
    assert_eq!(request(&mut session, 0), (vec![(key(1, 0), 10)], vec![]));
    assert_eq!(session.told(key(1, 0)), Some(at(4, 10)));
}

#[test]
fn without_a_place_at_the_leader_every_request_names_everything() {
    let mut session = FetchSession::default();
    session.follow(key(1, 0), at(3, 10));
    session.follow(key(1, 1), at(3, 20));
    for _ in 0..2 {
        let next = session.request(0, ME, &CONFIG);
        assert_eq!((next.session_id, next.session_epoch), (0, 0));
        assert_eq!(named(&next).0, [(key(1, 0), 10), (key(1, 1), 20)]);
        session.answered(0);
    }
}

#[test]
fn a_new_connection_starts_a_new_session() {
    let mut session = established();
    session.remove(key(1, 0));
    session.restart();
    let next = session.request(0, ME, &CONFIG);
    assert_eq!((next.session_id, next.session_epoch), (0, 0));
    assert_eq!(named(&next), (vec![(key(1, 1), 20)], vec![]));
}

#[test]
fn session_epochs_wrap_to_one() {
    let mut session = established();
    session.epoch = i32::MAX;
    session.answered(42);
    assert_eq!(session.request(0, ME, &CONFIG).session_epoch, 1);
}

#[test]
fn an_error_pauses_its_partition_and_bounds_the_poll_of_the_others() {
    let mut session = established();
    session.pause(key(1, 0), 100, ErrorCode::NotLeaderOrFollower, BACKOFF_MS);
    assert!(!session.is_idle() && !session.has_news());
    assert_eq!(session.next_resume_ms(), Some(102));
    let next = session.request(101, ME, &CONFIG);
    assert_eq!(named(&next), (vec![], vec![key(1, 0)]), "else it is answered again at once");
    assert_eq!(next.max_wait_ms, 1);
    session.answered(42);
    session.resume(101);
    assert!(!session.has_news());
    session.resume(102);
    assert_eq!(request(&mut session, 102), (vec![(key(1, 0), 10)], vec![]));
}

#[test]
fn pauses_grow_with_errors_in_a_row_and_end_with_a_new_epoch() {
    let mut session = established();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        session.pause(key(1, 0), 0, ErrorCode::UnknownLeaderEpoch, BACKOFF_MS);
        pauses.extend(session.next_resume_ms());
        session.resume(10_000);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000]);
    session.pause(key(1, 0), 0, ErrorCode::UnknownLeaderEpoch, BACKOFF_MS);
    session.follow(key(1, 0), at(4, 10));
    assert_eq!(session.next_resume_ms(), None);
    assert_eq!(request(&mut session, 0), (vec![(key(1, 0), 10)], vec![]));
    session.pause(key(1, 0), 0, ErrorCode::UnknownLeaderEpoch, BACKOFF_MS);
    assert_eq!(session.next_resume_ms(), Some(2));
}

#[test]
fn errors_of_the_disk_pause_for_longer_and_longer() {
    assert_eq!(pause_ms(ErrorCode::KafkaStorageError, 0, BACKOFF_MS), 1000);
    assert_eq!(pause_ms(ErrorCode::KafkaStorageError, 3, BACKOFF_MS), 8000);
    assert_eq!(pause_ms(ErrorCode::KafkaStorageError, u32::MAX, BACKOFF_MS), 30_000);
    assert_eq!(pause_ms(ErrorCode::CorruptMessage, 5, BACKOFF_MS), 1000);
    assert_eq!(pause_ms(ErrorCode::CorruptMessage, 0, 0), 2, "never a busy loop");
}

#[test]
fn a_held_partition_waits_for_its_release() {
    let mut session = established();
    session.hold(key(1, 1));
    session.resume(i64::MAX - 1);
    assert_eq!(session.next_resume_ms(), None);
    let next = session.request(0, ME, &CONFIG);
    assert_eq!(named(&next), (vec![], vec![key(1, 1)]));
    assert_eq!(next.max_wait_ms, 20, "the release does not interrupt a poll");
    session.hold(key(1, 0));
    assert!(session.is_idle());
    session.release(key(1, 1));
    session.advance(key(1, 1), end(15, 1));
    assert_eq!(request(&mut session, 0), (vec![(key(1, 1), 15)], vec![key(1, 0)]));
}

#[test]
fn replicas_outside_the_isr_say_where_they_are_until_they_are_in() {
    let mut session = established();
    session.join(key(1, 0));
    session.tell_joining(1000, |_| false);
    let next = session.request(1000, ME, &CONFIG);
    assert_eq!(named(&next).0, [(key(1, 0), 10)]);
    assert_eq!(next.max_wait_ms, 100);
    session.answered(42);
    session.tell_joining(1050, |_| false);
    assert!(!session.has_news(), "not with every request");
    session.tell_joining(1100, |_| true);
    let next = session.request(1100, ME, &CONFIG);
    assert_eq!((named(&next).0, next.max_wait_ms), (vec![], 500));
}

#[test]
fn a_new_registration_is_told_for_every_partition() {
    let mut session = established();
    session.tell_all();
    assert!(session.has_news());
    let next = session.request(0, Fetcher { epoch: 9, ..ME }, &CONFIG);
    assert_eq!(next.replica_state.replica_epoch, 9);
    assert_eq!((next.session_id, next.session_epoch), (42, 1));
    assert_eq!(named(&next).0.len(), 2);
}

#[test]
fn answers_are_told_to_the_core_as_they_came() {
    let mut data = PartitionData {
        error_code: ErrorCode::OffsetOutOfRange.code(),
        high_watermark: -1,
        log_start_offset: 30,
        ..PartitionData::default()
    };
    let expected = FetchAnswer {
        leader: BrokerId(1),
        leader_epoch: 3,
        fetch_offset: 10,
        last_fetched_epoch: 2,
        error: ErrorCode::OffsetOutOfRange,
        diverging: None,
        high_watermark: -1,
        log_start: 30,
    };
    assert_eq!(fetch_answer(BrokerId(1), at(3, 10), &data), expected);
    data.error_code = 0;
    data.diverging_epoch.epoch = 2;
    data.diverging_epoch.end_offset = 8;
    let answer = fetch_answer(BrokerId(1), at(3, 10), &data);
    assert_eq!(answer.diverging, Some(EpochEnd { epoch: 2, end_offset: 8 }));
    data.error_code = i16::MAX;
    let answer = fetch_answer(BrokerId(1), at(3, 10), &data);
    assert_eq!(answer.error, ErrorCode::UnknownServerError);
}
