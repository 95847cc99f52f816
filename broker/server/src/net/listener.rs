//! Accepting client connections, within the configured limits.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::input::Input;
use super::places::{Limits, Place};
use super::started::ConnectionInfo;
use crate::broker::Broker;
use crate::security::Gate;
use crate::seldom::Seldom;
use config::Endpoint;

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
    let name = endpoint.name.as_str().into();
    if endpoint.host.is_empty() {
        let socket = bind_any(endpoint.port, backlog)?;
        let port = socket.local_addr()?.port();
        return Ok(BoundListener { name, address: (Ipv4Addr::UNSPECIFIED, port).into(), socket });
    }
    let host = endpoint.host.as_str();
    let address = (host, endpoint.port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("{host} has no address")))?;
    let socket = bind_to(address, backlog)?;
    Ok(BoundListener { name, address: socket.local_addr()?, socket })
}

/// Binds a port of every address of the machine, of IPv6 and of IPv4, or of IPv4 alone where there
/// is no IPv6.
pub fn bind_any(port: u16, backlog: i32) -> io::Result<std::net::TcpListener> {
    match bind_to((Ipv6Addr::UNSPECIFIED, port).into(), backlog) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_to((Ipv4Addr::UNSPECIFIED, port).into(), backlog)
        }
        bound => bound,
    }
}

fn bind_to(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // A machine may have it otherwise by default.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// As the client knows itself: an address of IPv4 that comes by a socket of IPv6 is one.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Accepts until the shutdown starts, then waits until the connections have sent what they owe.
pub async fn serve(broker: Arc<Broker>, bound: BoundListener) -> io::Result<()> {
    let listener = TcpListener::from_std(bound.socket)?;
    let unknown = || io::Error::other(format!("listener {} has no protocol", bound.name));
    let gate = broker.gates.of(&bound.name).ok_or_else(unknown)?;
    let config = &broker.config;
    let is_protected = config.listeners.len() > 1 && *bound.name == *config.inter_broker_listener;
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            if !is_protected {
                // Those who come meanwhile wait in the backlog.
                broker.places.room(|| limits(&broker)).await;
            }
            listener.accept().await
        };
        tokio::select! {
            accepted = accept => match accepted {
                Ok((stream, peer)) => {
                    let peer = canonical(peer);
                    if !is_protected && !broker.quotas.admits(&broker.image(), peer.ip()) {
                        tracing::debug!(%peer, "refuse connection beyond its quota");
                        continue;
                    }
                    let place = match broker.places.take(peer.ip(), is_protected, limits(&broker)) {
                        Ok(place) => place,
                        Err(refusal) => {
                            let listener = &bound.name;
                            turned_away(peer, listener, &refusal);
                            continue;
                        }
                    };
                    if let Err(error) = tune(&broker, &stream) {
                        tracing::debug!(%peer, %error, "set socket options");
                    }
                    let (name, gate) = (bound.name.clone(), gate.clone());
                    let serving = connect(broker.clone(), gate, name, stream, peer, place);
                    connections.spawn(serving);
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

fn turned_away(peer: SocketAddr, listener: &str, refusal: &dyn std::fmt::Debug) {
    static TOLD: Seldom = Seldom::new(10);
    match TOLD.take() {
        Some(unsaid) => tracing::warn!(%peer, %listener, ?refusal, unsaid, "refuse connection"),
        None => tracing::debug!(%peer, %listener, ?refusal, "refuse connection"),
    }
}

/// One connection, from its handshake to its end.
async fn connect(
    broker: Arc<Broker>,
    gate: Arc<Gate>,
    listener: Arc<str>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
) {
    let occupant = place.occupant.clone();
    let serving = async {
        let admitted = tokio::select! {
            admitted = gate.admit(stream) => admitted,
            () = broker.shutdown.connections_closing() => return,
        };
        let (stream, principal) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return gate.tell(peer, &refused),
        };
        // Who is not known yet has little to say.
        let unknown = gate.sasl.as_ref().map(|sasl| sasl.request_bytes_max);
        let frame_bytes_max = unknown.unwrap_or(broker.config.net.request_bytes_max);
        let info = ConnectionInfo { listener, gate, peer, principal, occupant };
        let input = Input::new(frame_bytes_max, broker.memory.clone());
        Connection::new(broker.clone(), stream, info, input).run().await;
    };
    tokio::select! {
        () = serving => {}
        () = place.occupant.evicted() => {
            tracing::info!(%peer, "connection gives way to a broker's");
        }
    }
}

fn limits(broker: &Broker) -> Limits {
    let fixed = &broker.config.net;
    Limits {
        connections_max: limit(broker, "max.connections", fixed.connections_max),
        per_ip_max: limit(broker, "max.connections.per.ip", fixed.connections_per_ip_max),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_listener_without_a_host_is_reached_by_every_address() {
        let endpoint = Endpoint { name: "PLAINTEXT".into(), host: String::new(), port: 0 };
        let bound = bind(&endpoint, 8).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, bound.address.port())).unwrap();
        // A machine without IPv6 has no such address to try.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, bound.address.port())).unwrap();
        }
        let again = Endpoint { port: bound.address.port(), ..endpoint };
        assert_eq!(bind(&again, 8).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_client_of_ipv4_is_known_as_one() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:99".parse().unwrap();
        assert_eq!(canonical(mapped), "10.0.0.1:99".parse().unwrap());
    }
}
