//! The connection against a scripted broker on a real socket.

#![allow(clippy::unwrap_used)]

use tokio::net::TcpListener;
use wire::messages::api_versions_response::ApiVersion;
use wire::messages::{
    FetchRequest, FetchResponse, HeartbeatRequest, HeartbeatResponse, ProduceRequest,
    fetch_response,
};
use wire::{AnyResponse, Records, encode_response};

use super::*;

struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Peer {
    async fn request(&mut self) -> Option<(RequestHeader, Reader)> {
        loop {
            if let Split::Frame(frame) = frame::split(&mut self.buffer, 1 << 20).unwrap() {
                let mut r = Reader::new(frame);
                return Some((RequestHeader::decode(&mut r).unwrap(), r));
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn respond(&mut self, header: &RequestHeader, body: impl Into<AnyResponse>) {
        let body = body.into();
        self.write(&body, header.api_version, header.correlation_id).await;
    }

    async fn write(&mut self, body: &AnyResponse, version: i16, correlation_id: i32) {
        for part in encode_response(body, version, correlation_id).unwrap() {
            if let Part::Bytes(mut bytes) = part {
                self.stream.write_all_buf(&mut bytes).await.unwrap();
            }
        }
    }
}

async fn pair(options: Options) -> (Connection, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (connection, accepted) =
        tokio::join!(Connection::connect(&addr, options), listener.accept());
    let peer = Peer { stream: accepted.unwrap().0, buffer: BytesMut::new() };
    (connection.unwrap(), peer)
}

fn heartbeat(member: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: "g".into(), member_id: member.into(), ..Default::default() }
}

#[tokio::test]
async fn pipelined_calls_get_their_own_responses() {
    let (connection, mut peer) = pair(Options { in_flight_max: 4, ..Options::default() }).await;
    let broker = tokio::spawn(async move {
        let mut held = Vec::new();
        // Nothing is answered until several requests are in: they must be pipelined.
        for round in 0..20 {
            let (header, mut r) = peer.request().await.unwrap();
            let request = HeartbeatRequest::decode(&mut r, header.api_version).unwrap();
            held.push((header, request.member_id.parse::<i32>().unwrap()));
            if round % 4 == 3 {
                for (header, number) in held.drain(..) {
                    let body = HeartbeatResponse { throttle_time_ms: number, ..Default::default() };
                    peer.respond(&header, body).await;
                }
            }
        }
    });
    let calls = (0..20).map(|number: i32| {
        let connection = connection.clone();
        tokio::spawn(async move {
            let response = connection.call(&heartbeat(&number.to_string()), 4).await.unwrap();
            (number, response.throttle_time_ms)
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (number, answered) = call.await.unwrap();
        assert_eq!(number, answered);
    }
    broker.await.unwrap();
}

#[tokio::test]
async fn a_large_fetch_arrives_whole_and_as_a_slice() {
    let (connection, mut peer) = pair(Options::default()).await;
    let sent = Bytes::from(vec![7u8; 3 << 20]);
    let records = Records::Bytes(sent.clone());
    let broker = tokio::spawn(async move {
        let (header, _) = peer.request().await.unwrap();
        let partition = fetch_response::PartitionData { records, ..Default::default() };
        let topic = fetch_response::FetchableTopicResponse {
            partitions: vec![partition],
            ..Default::default()
        };
        peer.respond(&header, FetchResponse { responses: vec![topic], ..Default::default() }).await;
    });
    let mut response = connection.call(&FetchRequest::default(), 17).await.unwrap();
    let partition = response.responses.remove(0).partitions.remove(0);
    assert_eq!(partition.records.into_bytes(), Some(sent));
    broker.await.unwrap();
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_its_version() {
    let (connection, mut peer) = pair(Options::default()).await;
    let broker = tokio::spawn(async move {
        let entry =
            |api_key, min_version, max_version| ApiVersion { api_key, min_version, max_version };
        let (header, _) = peer.request().await.unwrap();
        assert_eq!(header.api_version, 5);
        let refusal = ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![entry(18, 0, 2)],
            ..Default::default()
        };
        peer.write(&refusal.into(), 0, header.correlation_id).await;
        let (header, _) = peer.request().await.unwrap();
        assert_eq!(header.api_version, 2);
        let keys = vec![entry(18, 0, 2), entry(12, 0, 3), entry(9999, 0, 0)];
        peer.respond(&header, ApiVersionsResponse { api_keys: keys, ..Default::default() }).await;
        let (header, _) = peer.request().await.unwrap();
        assert_eq!((header.api_key, header.api_version), (ApiKey::Heartbeat, 3));
        peer.respond(&header, HeartbeatResponse::default()).await;
    });
    connection.negotiate().await.unwrap();
    connection.call_newest(&heartbeat("m")).await.unwrap();
    let missing = connection.call_newest(&FetchRequest::default()).await;
    assert!(matches!(missing, Err(ClientError::NoCommonVersion(ApiKey::Fetch))));
    broker.await.unwrap();
}

#[tokio::test]
async fn calls_fail_when_the_peer_closes() {
    let (connection, mut peer) = pair(Options::default()).await;
    let waiting = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call(&heartbeat("m"), 4).await }
    });
    peer.request().await.unwrap();
    drop(peer);
    let outcome = waiting.await.unwrap();
    assert!(matches!(outcome, Err(ClientError::Closed(_))), "{outcome:?}");
    connection.closed().await;
    assert!(connection.is_closed());
    let later = connection.call(&heartbeat("m"), 4).await;
    assert!(matches!(later, Err(ClientError::Closed(_))), "{later:?}");
}

#[tokio::test]
async fn a_wrong_correlation_id_ends_the_connection() {
    let (connection, mut peer) = pair(Options::default()).await;
    let broker = tokio::spawn(async move {
        let (header, _) = peer.request().await.unwrap();
        let body = HeartbeatResponse::default().into();
        peer.write(&body, header.api_version, header.correlation_id + 1).await;
        assert!(peer.request().await.is_none());
    });
    let outcome = connection.call(&heartbeat("m"), 4).await;
    assert!(matches!(outcome, Err(ClientError::Closed(Closed::Correlation { .. }))), "{outcome:?}");
    broker.await.unwrap();
}

#[tokio::test]
async fn an_oversized_response_is_refused_by_its_prefix() {
    let (connection, mut peer) = pair(Options { frame_bytes_max: 100, ..Options::default() }).await;
    let broker = tokio::spawn(async move {
        peer.request().await.unwrap();
        peer.stream.write_all(&101i32.to_be_bytes()).await.unwrap();
        peer
    });
    let outcome = connection.call(&heartbeat("m"), 4).await;
    assert!(matches!(outcome, Err(ClientError::Closed(Closed::Frame(_)))), "{outcome:?}");
    broker.await.unwrap();
}

#[tokio::test]
async fn a_call_that_gave_up_leaves_the_connection_in_step() {
    let (connection, mut peer) = pair(Options::default()).await;
    let limit = Duration::from_millis(20);
    let late = connection.call_within(&heartbeat("late"), 4, limit).await;
    assert!(matches!(late, Err(ClientError::Timeout(ApiKey::Heartbeat))), "{late:?}");
    let broker = tokio::spawn(async move {
        for number in 0..2 {
            let (header, _) = peer.request().await.unwrap();
            let body = HeartbeatResponse { throttle_time_ms: number, ..Default::default() };
            peer.respond(&header, body).await;
        }
    });
    let response = connection.call(&heartbeat("next"), 4).await.unwrap();
    assert_eq!(response.throttle_time_ms, 1, "the first response belongs to the call given up");
    broker.await.unwrap();
}

#[tokio::test]
async fn a_request_without_response_does_not_shift_the_others() {
    let (connection, mut peer) = pair(Options::default()).await;
    let broker = tokio::spawn(async move {
        let (header, _) = peer.request().await.unwrap();
        assert_eq!(header.api_key, ApiKey::Produce);
        let (header, _) = peer.request().await.unwrap();
        peer.respond(&header, HeartbeatResponse::default()).await;
    });
    let produce = ProduceRequest { acks: 0, ..Default::default() };
    connection.send(&produce, 9).await.unwrap();
    connection.call(&heartbeat("m"), 4).await.unwrap();
    broker.await.unwrap();
}

#[tokio::test]
async fn connecting_to_nobody_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let outcome = Connection::connect(&addr, Options::default()).await;
    assert!(matches!(outcome, Err(ClientError::Connect { .. })), "{outcome:?}");
}
