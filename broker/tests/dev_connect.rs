//! `broker dev` finds a broker that answers among those that do not.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use config::testing::on_free_ports;
use dev::topics::connect;

/// A port that nothing listens on.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_broker_that_answers_is_good_enough() {
    let dir = tempfile::tempdir().unwrap();
    let config = on_free_ports(dir.path());
    let running = broker::boot::start(Arc::new(config)).unwrap();
    let down = format!("127.0.0.1:{}", free_port());
    connect(&format!("{down},{}", running.addresses[0])).await.unwrap();
    let error = connect(&down).await.unwrap_err().to_string();
    assert!(error.contains(&down), "{error}");
    running.stop().await.unwrap();
}
