//! The broker's HTTP port: one small GET per question, over a connection of its own, to the pod's
//! address. Names are not used: a pod's address in its status is newer than any DNS cache.

use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest reply: that of a cluster with 1000 brokers is a tenth of it.
const REPLY_BYTES_MAX: u64 = 8 << 20;

/// Asks one question; the error is for people.
pub async fn get<T: DeserializeOwned>(
    host: IpAddr,
    port: u16,
    path: &str,
    patience: Duration,
) -> Result<T, String> {
    let reply = ask(host, port, path, patience).await?;
    serde_json::from_slice(body(&reply)?).map_err(|e| format!("not the expected JSON: {e}"))
}

/// The reply as text.
pub async fn get_text(
    host: IpAddr,
    port: u16,
    path: &str,
    patience: Duration,
) -> Result<String, String> {
    let reply = ask(host, port, path, patience).await?;
    Ok(String::from_utf8_lossy(body(&reply)?).into_owned())
}

async fn ask(host: IpAddr, port: u16, path: &str, patience: Duration) -> Result<Vec<u8>, String> {
    match timeout(patience, exchange(host, port, path)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn exchange(host: IpAddr, port: u16, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    // In HTTP/1.0 a reply is never chunked and ends with the connection.
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: broker\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.take(REPLY_BYTES_MAX).read_to_end(&mut reply).await?;
    Ok(reply)
}

fn body(reply: &[u8]) -> Result<&[u8], String> {
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n").ok_or("not an HTTP reply")?;
    let (head, body) = (&reply[..end], &reply[end + 4..]);
    let status = head.split(|b| *b == b' ').nth(1).unwrap_or_default();
    if status != b"200" {
        let body = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        return Err(format!("HTTP {}: {}", String::from_utf8_lossy(status), body.trim()));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::routing::get as route;
    use axum::{Json, Router};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn replies_errors_and_silence() {
        let routes = Router::new()
            .route("/good", route(async || Json(json!({"offset": 7}))))
            .route(
                "/bad",
                route(async || (axum::http::StatusCode::SERVICE_UNAVAILABLE, "no image")),
            )
            .route("/hangs", route(async || std::future::pending::<&str>().await));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let ask = |path: &'static str, ms| {
            get::<Value>(at.ip(), at.port(), path, Duration::from_millis(ms))
        };
        assert_eq!(ask("/good", 2_000).await.unwrap()["offset"], 7);
        assert_eq!(ask("/bad", 2_000).await.unwrap_err(), "HTTP 503: no image");
        assert_eq!(ask("/hangs", 50).await.unwrap_err(), "no answer in time");
        server.abort();
    }
}
