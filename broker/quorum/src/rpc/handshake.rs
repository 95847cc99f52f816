//! How two nodes come to talk: who they are, that they mean each other, and that both have the
//! secret of the cluster.
//!
//! | who | says | because |
//! |---|---|---|
//! | client | [`Hello`]: who it is, whom it means, a nonce | |
//! | server | [`Welcome`]: who it is, a nonce, its proof | the client must not follow a stranger |
//! | client | [`Answer`]: its proof | the server must not obey a stranger |
//! | server | [`Verdict`] | the client learns why |
//!
//! A node is meant by its id and, where that is known, its directory: the disk that was replaced by
//! another one gets neither votes nor entries that are meant for that one. The last two messages
//! are left out where the client has no secret, as in older versions, or the server has none.

use std::io;
use std::time::{Duration, Instant};

use base::TopicId;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use transport::Stream;

use super::Identity;
use super::frame::{self, Answer, Challenge, Channel, Hello, PROTOCOL, Verdict, Welcome};
use super::handler::RequestHandler;
use super::socket::ConnectError;
use crate::config::{NodeAddress, may_be_same};
use crate::secret::{End, Exchange, Nonce, Purpose, Secret, Side};
use crate::types::NodeId;

/// Between two lines about refused connections.
const SAY_AGAIN: Duration = Duration::from_secs(1);
const HOW_TO: &str = "give every broker of the cluster the same barnabas.internal.secret.file";

impl Channel {
    fn purpose(self) -> Purpose {
        match self {
            Channel::Raft => Purpose::Raft,
            Channel::Controller => Purpose::Controller,
        }
    }
}

/// What both ends sign. The server's `to` and cluster were compared with the client's before.
fn exchange<'a>(
    hello: &'a Hello,
    client_nonce: Nonce,
    directory: TopicId,
    incarnation: u64,
    nonce: Nonce,
) -> Exchange<'a> {
    Exchange {
        purpose: hello.channel.purpose(),
        cluster_id: hello.cluster_id.as_deref().unwrap_or_default(),
        client: End {
            node: hello.from,
            directory: hello.directory,
            incarnation: hello.incarnation,
            nonce: client_nonce,
        },
        server: End { node: hello.to, directory, incarnation, nonce },
    }
}

/// The client's part.
pub(super) async fn introduce(
    identity: &Identity,
    node: NodeId,
    address: &NodeAddress,
    channel: Channel,
    stream: &mut Stream,
) -> Result<Welcome, ConnectError> {
    let hello = Hello {
        from: identity.node,
        to: node,
        channel,
        cluster_id: identity.cluster_id.clone(),
        incarnation: identity.incarnation,
        directory: identity.directory,
        to_directory: address.directory,
        nonce: identity.guard.secret().map(|_| Nonce::random()),
        protocol: PROTOCOL,
    };
    say(stream, &hello).await.map_err(ConnectError::Closed)?;
    let welcome: Welcome = read(stream).await?;
    if let Some(reason) = welcome.refused {
        return Err(ConnectError::Unwelcome(reason));
    }
    let (Some(secret), Some(nonce)) = (identity.guard.secret(), hello.nonce) else {
        return Ok(welcome);
    };
    let Some(challenge) = &welcome.challenge else {
        return match identity.guard.is_strict() {
            true => Err(unwelcome(format!("node {node} does not prove that it has the secret"))),
            false => Ok(welcome),
        };
    };
    let said = exchange(&hello, nonce, welcome.directory, welcome.incarnation, challenge.nonce);
    if !secret.verify(&said, Side::Server, &challenge.proof) && identity.guard.is_strict() {
        return Err(unwelcome(format!("node {node} has another secret")));
    }
    let answer = Answer { proof: secret.prove(&said, Side::Client) };
    say(stream, &answer).await.map_err(ConnectError::Closed)?;
    let verdict: Verdict = read(stream).await?;
    match verdict.refused {
        Some(reason) => Err(ConnectError::Unwelcome(reason)),
        None => Ok(welcome),
    }
}

fn unwelcome(what: String) -> ConnectError {
    ConnectError::Unwelcome(format!("{what}: {HOW_TO}"))
}

async fn say<T: serde::Serialize>(stream: &mut Stream, message: &T) -> io::Result<()> {
    frame::write_hello(stream, message).await?;
    stream.flush().await
}

async fn read<T: serde::de::DeserializeOwned>(stream: &mut Stream) -> Result<T, ConnectError> {
    frame::read_hello(stream).await.map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => ConnectError::Io(e),
        _ => ConnectError::Closed(e),
    })
}

/// The server's part. `None`: the client was told why it is not served.
pub(super) async fn receive(
    identity: &Identity,
    handler: &dyn RequestHandler,
    stream: &mut Stream,
) -> io::Result<Option<Hello>> {
    let hello: Hello = frame::read_hello(stream).await?;
    let refused = refuse(identity, &hello)
        .or_else(|| handler.refuse(hello.from, hello.directory, hello.channel));
    let mut welcome = Welcome {
        node: identity.node,
        incarnation: identity.incarnation,
        directory: identity.directory,
        refused,
        challenge: None,
        protocol: hello.protocol.min(PROTOCOL),
    };
    if let Some(reason) = &welcome.refused {
        tell(&hello, reason);
        say(stream, &welcome).await?;
        return Ok(None);
    }
    let (Some(secret), Some(nonce)) = (identity.guard.secret(), hello.nonce) else {
        say(stream, &welcome).await?;
        return Ok(Some(hello));
    };
    let own = Nonce::random();
    let said = exchange(&hello, nonce, identity.directory, identity.incarnation, own);
    welcome.challenge = Some(Challenge { nonce: own, proof: secret.prove(&said, Side::Server) });
    say(stream, &welcome).await?;
    let answer: Answer = frame::read_hello(stream).await?;
    let refused = judge(identity, secret, &said, &answer);
    if let Some(reason) = &refused {
        tell(&hello, reason);
    }
    let verdict = Verdict { refused };
    say(stream, &verdict).await?;
    Ok(verdict.refused.is_none().then_some(hello))
}

/// Who is refused comes again, perhaps many times a second.
fn tell(hello: &Hello, reason: &str) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock();
    if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
        *said = Some(Instant::now());
        tracing::warn!(node = hello.from, %reason, "an internal connection is refused");
    } else {
        tracing::debug!(node = hello.from, %reason, "an internal connection is refused");
    }
}

fn refuse(identity: &Identity, hello: &Hello) -> Option<String> {
    let own = identity.node;
    if hello.to != own {
        return Some(format!("this is node {own}, not {}", hello.to));
    }
    if !identity.same_cluster(&hello.cluster_id) {
        return Some("the cluster ids differ".to_owned());
    }
    if hello.from == own {
        return Some(format!(
            "this is node {own}, too, in directory {}: stop one of the two brokers, or give it \
             another node.id",
            identity.directory
        ));
    }
    if !may_be_same(hello.to_directory, identity.directory) {
        return Some(format!(
            "node {own} has directory {} here, not {}: another broker took its place",
            identity.directory, hello.to_directory
        ));
    }
    if identity.guard.is_strict() && hello.nonce.is_none() {
        return Some(format!(
            "node {} does not prove that it has the secret: {HOW_TO}",
            hello.from
        ));
    }
    None
}

fn judge(
    identity: &Identity,
    secret: &Secret,
    said: &Exchange<'_>,
    answer: &Answer,
) -> Option<String> {
    let proved = secret.verify(said, Side::Client, &answer.proof);
    (!proved && identity.guard.is_strict())
        .then(|| format!("node {} has another secret: {HOW_TO}", said.client.node))
}
