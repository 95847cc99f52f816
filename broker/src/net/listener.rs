//! Accepting client connections, within the configured limits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::{Connection, ConnectionInfo};
use super::input::Input;
use crate::broker::Broker;
use crate::config::Endpoint;

const KEEPALIVE: Duration = Duration::from_secs(60);
/// Pause after accept failed for want of descriptors, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener whose port is taken, not yet served.
#[derive(Debug)]
pub struct BoundListener {
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub socket: std::net::TcpListener,
}

/// Binds the address of a listener; port 0 takes a free one.
pub fn bind(endpoint: &Endpoint, backlog: i32) -> io::Result<BoundListener> {
    let host = if endpoint.host.is_empty() { "0.0.0.0" } else { endpoint.host.as_str() };
    let address = (host, endpoint.port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("{host} has no address")))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    let socket: std::net::TcpListener = socket.into();
    let address = socket.local_addr()?;
    Ok(BoundListener { name: endpoint.name.as_str().into(), address, socket })
}

/// Connections open now, in all and by address.
#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// Gives its place back when the connection ends.
struct Place {
    open: Arc<Mutex<Open>>,
    ip: IpAddr,
    gauge: IntGauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.dec();
        let mut open = self.open.lock();
        open.total -= 1;
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

/// Accepts until the shutdown starts, then waits until the connections have sent what they owe.
pub async fn serve(broker: Arc<Broker>, bound: BoundListener) -> io::Result<()> {
    let listener = TcpListener::from_std(bound.socket)?;
    let open = Arc::new(Mutex::new(Open::default()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = admit(&broker, &open, peer.ip()) else { continue };
                    if let Err(error) = tune(&broker, &stream) {
                        tracing::debug!(%peer, %error, "set socket options");
                    }
                    let info = ConnectionInfo { listener: bound.name.clone(), peer };
                    let frame_bytes_max = broker.config.net.request_bytes_max;
                    let input = Input::new(frame_bytes_max, broker.memory.clone());
                    let connection = Connection::new(broker.clone(), stream, info, input);
                    connections.spawn(async move {
                        let _place = place;
                        connection.run().await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, listener = %bound.name, "accept connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = broker.shutdown.connections_closing() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

fn admit(broker: &Broker, open: &Arc<Mutex<Open>>, ip: IpAddr) -> Option<Place> {
    let fixed = &broker.config.net;
    let connections_max = limit(broker, "max.connections", fixed.connections_max);
    let per_ip_max = limit(broker, "max.connections.per.ip", fixed.connections_per_ip_max);
    let mut all = open.lock();
    let count = all.by_ip.get(&ip).copied().unwrap_or(0);
    if all.total >= connections_max || count >= per_ip_max {
        tracing::warn!(%ip, total = all.total, "refuse connection: limit reached");
        return None;
    }
    all.total += 1;
    all.by_ip.insert(ip, count + 1);
    let gauge = broker.metrics.connections.clone();
    gauge.inc();
    Some(Place { open: open.clone(), ip, gauge })
}

/// A limit that may be altered at run time; `fixed` is what the file says.
fn limit(broker: &Broker, key: &str, fixed: usize) -> usize {
    let image = broker.image();
    let dynamic = image.dynamic_broker_value(broker.id, key);
    dynamic.and_then(|value| value.trim().parse().ok()).unwrap_or(fixed)
}

fn tune(broker: &Broker, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // Only where the file says so: a fixed size switches the kernel's own tuning off.
    let explicit = &broker.config.explicit;
    if let Some(bytes) = broker.config.net.send_buffer_bytes
        && explicit.contains_key("socket.send.buffer.bytes")
    {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = broker.config.net.receive_buffer_bytes
        && explicit.contains_key("socket.receive.buffer.bytes")
    {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}
