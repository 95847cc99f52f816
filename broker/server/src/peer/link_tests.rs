//! The connection against a leader that sends what the test wants, in the pieces it wants.
#![allow(clippy::unwrap_used)]

use base::TopicId;
use bytes::Bytes;
use tokio::net::TcpListener;
use wire::header::RequestHeader;
use wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use wire::{AnyResponse, Records};

use super::*;

const FRAME_BYTES_MAX: usize = 1 << 20;

async fn connected() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connecting =
        Link::connect("127.0.0.1", port, Str::from("test"), FRAME_BYTES_MAX, &Connector::Plain);
    let (link, accepted) = tokio::join!(connecting, listener.accept());
    (link.unwrap(), accepted.unwrap().0)
}

/// What the connection said to the follower.
fn error(result: Result<(), FetchError>) -> LinkError {
    match result {
        Err(FetchError::Link(error)) => *error.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn response(records: usize) -> FetchResponse {
    let partition = PartitionData {
        records: Records::Bytes(Bytes::from(vec![7; records])),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: TopicId([1; 16]),
        partitions: vec![partition],
        ..FetchableTopicResponse::default()
    };
    FetchResponse { session_id: 9, responses: vec![topic], ..FetchResponse::default() }
}

fn frame_of(response: &FetchResponse, correlation_id: i32) -> Vec<u8> {
    let response = AnyResponse::Fetch(response.clone());
    let parts = wire::encode_response(&response, FETCH_VERSION, correlation_id).unwrap();
    let mut frame = Vec::new();
    for part in parts {
        let Part::Bytes(bytes) = part else { panic!("a file in a test") };
        frame.extend_from_slice(&bytes);
    }
    frame
}

fn records_of(response: &FetchResponse) -> usize {
    response.responses[0].partitions[0].records.len()
}

#[tokio::test]
async fn a_response_may_be_waited_for_again_and_again() {
    let (mut link, mut leader) = connected().await;
    link.send(&FetchRequest::default()).await.unwrap();
    assert!(!link.has_begun());
    let frame = frame_of(&response(300_000), 1);
    for piece in frame.chunks(100_000) {
        assert!(timeout(Duration::from_millis(1), link.response()).await.is_err());
        leader.write_all(piece).await.unwrap();
    }
    link.response().await.unwrap();
    assert!(link.has_begun());
    assert_eq!(link.receive(|response| records_of(&response)).unwrap(), 300_000);
    assert!(!link.has_begun());
}

#[tokio::test]
async fn one_buffer_serves_all_responses_until_it_is_given_back() {
    let (mut link, mut leader) = connected().await;
    let mut begins = Vec::new();
    for correlation_id in 1..=3 {
        link.send(&FetchRequest::default()).await.unwrap();
        leader.write_all(&frame_of(&response(400_000), correlation_id)).await.unwrap();
        link.response().await.unwrap();
        begins.push(link.buffer.as_ptr());
        link.receive(|response| assert_eq!(records_of(&response), 400_000)).unwrap();
    }
    assert_eq!(begins[1], begins[2]);
    assert!(link.buffer.capacity() > 400_000);
    link.release();
    assert_eq!(link.buffer.capacity(), 0);
}

#[tokio::test]
async fn the_request_is_a_fetch_of_the_version_that_leaders_serve() {
    assert!(ApiKey::Fetch.versions().contains(&FETCH_VERSION));
    let (mut link, mut leader) = connected().await;
    let request = FetchRequest { session_id: 4, session_epoch: 2, ..FetchRequest::default() };
    link.send(&request).await.unwrap();
    let mut prefix = [0; frame::PREFIX_BYTES];
    leader.read_exact(&mut prefix).await.unwrap();
    let mut body = vec![0; frame::length(prefix, FRAME_BYTES_MAX).unwrap()];
    leader.read_exact(&mut body).await.unwrap();
    let mut r = Reader::new(Bytes::from(body));
    let header = RequestHeader::decode(&mut r).unwrap();
    assert_eq!((header.api_key, header.api_version), (ApiKey::Fetch, FETCH_VERSION));
    let received = FetchRequest::decode(&mut r, FETCH_VERSION).unwrap();
    assert_eq!((received.session_id, received.session_epoch), (4, 2));
}

#[tokio::test]
async fn an_answer_to_another_request_is_an_error() {
    let (mut link, mut leader) = connected().await;
    link.send(&FetchRequest::default()).await.unwrap();
    leader.write_all(&frame_of(&response(0), 2)).await.unwrap();
    link.response().await.unwrap();
    let received = link.receive(|_| ());
    assert!(matches!(error(received), LinkError::Correlation { expected: 1, received: 2 }));
}

#[tokio::test]
async fn a_leader_that_ends_or_lies_ends_the_wait() {
    let (mut link, leader) = connected().await;
    drop(leader);
    assert!(matches!(error(link.response().await), LinkError::Closed | LinkError::Io(_)));
    let (mut link, mut leader) = connected().await;
    leader.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
    assert!(matches!(error(link.response().await), LinkError::Frame(_)));
}

/// Whatever a leader accepted may come; what it only announces takes no memory.
#[tokio::test]
async fn a_length_alone_takes_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connecting =
        Link::connect("127.0.0.1", port, Str::from("test"), i32::MAX as usize, &Connector::Plain);
    let (link, accepted) = tokio::join!(connecting, listener.accept());
    let (mut link, mut leader) = (link.unwrap(), accepted.unwrap().0);
    leader.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
    leader.write_all(&vec![7; 1 << 20]).await.unwrap();
    assert!(timeout(Duration::from_millis(500), link.response()).await.is_err());
    assert!(link.buffer.len() > 1 << 20, "{}", link.buffer.len());
    assert!(link.buffer.capacity() < 16 << 20, "{}", link.buffer.capacity());
}
