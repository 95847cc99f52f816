//! Links between brokers that a test can cut. Every inter-broker and controller listener is
//! advertised at a port of this proxy; a connection's owner is found in the process table by its
//! socket, so that cutting off one broker stops what it receives and what it sends, and nothing
//! else. A cut link is a black hole, as a failed network is: no reset, no data, until it heals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::config::Addresses;

#[derive(Debug, Default)]
struct State {
    isolated: BTreeSet<usize>,
    processes: BTreeMap<usize, u32>,
    closing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the link is whole; false when the proxy closes.
    fn wait_whole(&self, ends: [usize; 2]) -> bool {
        let mut state = self.lock();
        while !state.closing && ends.iter().any(|end| state.isolated.contains(end)) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closing
    }
}

#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
}

impl Links {
    pub fn new(addresses: &[Addresses]) -> Result<Links> {
        let shared = Arc::new(Shared::default());
        for (i, a) in addresses.iter().enumerate() {
            for (advertised, real) in
                [(a.replication_advertised, a.replication), (a.controller_advertised, a.controller)]
            {
                let listener = TcpListener::bind(("127.0.0.1", advertised))?;
                let shared = shared.clone();
                thread::spawn(move || accept(&listener, real, i + 1, &shared));
            }
        }
        Ok(Links { shared })
    }

    /// Tells whose connections come from this process.
    pub fn set_process(&self, id: usize, pid: u32) {
        self.shared.lock().processes.insert(id, pid);
    }

    pub fn isolate(&self, id: usize) {
        self.shared.lock().isolated.insert(id);
        self.shared.changed.notify_all();
    }

    pub fn heal(&self) {
        self.shared.lock().isolated.clear();
        self.shared.changed.notify_all();
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
    }
}

fn accept(listener: &TcpListener, real: u16, to: usize, shared: &Arc<Shared>) {
    for incoming in listener.incoming() {
        if shared.lock().closing {
            return;
        }
        let Ok(incoming) = incoming else { continue };
        let shared = shared.clone();
        thread::spawn(move || {
            // A connection that fails is the brokers' to notice: both ends close.
            let _ = carry(&incoming, real, to, &shared);
            let _ = incoming.shutdown(Shutdown::Both);
        });
    }
}

fn carry(incoming: &TcpStream, real: u16, to: usize, shared: &Arc<Shared>) -> Result<()> {
    let ends = (incoming.peer_addr()?.port(), incoming.local_addr()?.port());
    let from = owner(ends, &shared.lock().processes.clone()).unwrap_or(0);
    if !shared.wait_whole([from, to]) {
        return Ok(());
    }
    let target: SocketAddr = ([127, 0, 0, 1], real).into();
    let outgoing = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
    for stream in [incoming, &outgoing] {
        stream.set_nodelay(true)?;
    }
    let back = {
        let (read, write) = (outgoing.try_clone()?, incoming.try_clone()?);
        let shared = shared.clone();
        thread::spawn(move || pump(read, write, [from, to], &shared))
    };
    pump(incoming.try_clone()?, outgoing, [from, to], shared);
    // The other pump ends by the shutdown of both streams; its panic would be our bug.
    let _ = back.join();
    Ok(())
}

fn pump(mut read: TcpStream, mut write: TcpStream, ends: [usize; 2], shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = read.read(&mut buffer) {
        if count == 0 || !shared.wait_whole(ends) || write.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // An end is news too: it does not cross a cut link.
    shared.wait_whole(ends);
    let _ = write.shutdown(Shutdown::Both);
    let _ = read.shutdown(Shutdown::Both);
}

/// Which broker's process holds the socket that connects these ports, its own first.
fn owner(ends: (u16, u16), processes: &BTreeMap<usize, u32>) -> Option<usize> {
    let inode = inode(ends)?;
    let socket = format!("socket:[{inode}]");
    processes.iter().find(|(_, pid)| holds(**pid, &socket)).map(|(id, _)| *id)
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        fs::read_link(file.path()).is_ok_and(|to| to.to_str().is_some_and(|to| to == socket))
    })
}

/// The socket from the one port to the other, from the kernel's tables (a JVM uses the IPv6 one).
/// Its own port alone does not tell: the kernel gives one out again for another destination.
fn inode((local, remote): (u16, u16)) -> Option<u64> {
    let (local, remote) = (format!(":{local:04X}"), format!(":{remote:04X}"));
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let inode = fields.get(9).and_then(|inode| inode.parse().ok());
            if fields.get(1).is_some_and(|address| address.ends_with(&local))
                && fields.get(2).is_some_and(|address| address.ends_with(&remote))
                && inode.is_some_and(|inode: u64| inode != 0)
            {
                return inode;
            }
        }
    }
    None
}
