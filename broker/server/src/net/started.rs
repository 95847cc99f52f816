//! What a connection tells a handler of itself, and what it gets back.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::Principal;
use wire::Part;

use super::input::Lent;
use super::places::Occupant;
use crate::security::Gate;

/// What does not change while a connection lives.
#[derive(Debug)]
pub struct ConnectionInfo {
    pub listener: Arc<str>,
    /// What the listener asks of clients.
    pub gate: Arc<Gate>,
    pub peer: SocketAddr,
    /// Who the handshake proved it to be.
    pub principal: Principal,
    /// Who is long unused goes first.
    pub occupant: Arc<Occupant>,
}

/// What a handler wants to be sent.
#[derive(Debug)]
pub enum Reply {
    Parts(Vec<Part>),
    /// The same, and the connection ends with it.
    Last(Vec<Part>),
    /// Produce with acks=0: nothing is sent.
    Silent,
    /// The connection must end: the request was malformed, or nothing sensible can be answered.
    Close(&'static str),
    /// Parts to send, if any, and then nothing is read from the connection for a time.
    Pausing(Option<Vec<Part>>, Duration),
}

impl Reply {
    /// The same, after which its client has to pause.
    pub fn pausing(self, pause: Duration) -> Reply {
        match self {
            Reply::Parts(parts) if !pause.is_zero() => Reply::Pausing(Some(parts), pause),
            Reply::Silent if !pause.is_zero() => Reply::Pausing(None, pause),
            reply => reply,
        }
    }
}

/// What ends with a handler that was started.
pub type BeginFuture = Pin<Box<dyn Future<Output = Begun> + Send>>;

pub type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A handler that was started.
pub enum Started {
    Done(Reply),
    /// Polled once now, then only while it is the oldest unanswered request: it must hold nothing
    /// that others wait for.
    Later(ReplyFuture),
    /// Polled once now, then as a task of its own.
    Independent(ReplyFuture),
    /// Work that must not be done on a network thread. What it begins is polled when it is done,
    /// and until then nothing else of the connection is started.
    Long(Box<dyn FnOnce() -> Begun + Send>),
    /// What waits for somebody else before it begins. Nothing else of the connection is started
    /// meanwhile.
    Held(BeginFuture),
}

/// A handler that was started, and about what memory its request takes beside the frame.
pub struct Begun {
    pub started: Started,
    pub decoded: usize,
}

impl Begun {
    pub fn refused(reason: &'static str) -> Begun {
        Begun { started: Started::Done(Reply::Close(reason)), decoded: 0 }
    }

    /// What is left to be done keeps the frame's memory, and its share of the budget.
    pub fn keeping(self, memory: Lent) -> Begun {
        let started = match self.started {
            Started::Long(work) => Started::Long(Box::new(move || work().keeping(memory))),
            Started::Held(work) => {
                Started::Held(Box::pin(async move { work.await.keeping(memory) }))
            }
            done => {
                drop(memory);
                done
            }
        };
        Begun { started, ..self }
    }
}
