//! What is remembered of a connection between its requests: who is at its other end, and what may
//! be asked for until that is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Principal;
use process::clock::monotonic_ms;
use uuid::Uuid;
use wire::header::RequestHeader;
use wire::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use wire::{ApiKey, DecodeError, Reader};

use crate::access::Sender;
use crate::answer::{malformed, reply};
use crate::broker::Broker;
use crate::net::{ConnectionInfo, Reply, Started};
use crate::peer::proof::{MECHANISM, Proving};
use crate::request::{Client, RequestContext};
use crate::security::Refused;
use crate::security::sasl::{Answer, Sasl, World};

/// What stays between requests.
pub struct Session {
    info: Arc<ConnectionInfo>,
    /// The client id of the last request: most requests repeat it.
    client_id: Arc<str>,
    /// Whether the other end is a broker.
    proving: Proving,
    /// Where clients authenticate.
    sasl: Option<Sasl>,
    /// The other end became known, and nobody was told of it yet.
    is_news: bool,
}

impl Session {
    pub fn new(info: Arc<ConnectionInfo>) -> Session {
        let (client_id, proving) = ("".into(), Proving::default());
        let sasl = info.gate.sasl.is_some().then(Sasl::default);
        Session { info, client_id, proving, sasl, is_news: false }
    }

    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Who it speaks for.
    pub fn principal(&self) -> &Principal {
        self.sasl.as_ref().and_then(Sasl::principal).unwrap_or(&self.info.principal)
    }

    /// Nobody has said yet who it is, and somebody has to.
    pub fn awaits_authentication(&self) -> bool {
        let is_known = |sasl: &Sasl| sasl.principal().is_some();
        !self.sasl.as_ref().is_none_or(is_known) && self.proving.proved().is_none()
    }

    /// True once, after the other end became known.
    pub fn is_newly_known(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Whether the API may be asked for now; if not, why the connection ends.
    pub fn permits(&self, api: ApiKey) -> Result<(), &'static str> {
        match &self.sasl {
            Some(sasl) if self.proving.proved().is_none() => sasl.permits(api, monotonic_ms()),
            _ => Ok(()),
        }
    }

    /// Whom its last request came from.
    pub fn client(&self) -> Client<'_> {
        Client { user: &self.principal().name, client_id: &self.client_id }
    }

    /// The other end proved to be a broker.
    pub fn is_of_broker(&self) -> bool {
        self.proving.proved().is_some()
    }

    pub fn context(
        &mut self,
        broker: &Broker,
        header: &RequestHeader,
        bytes: usize,
        received: Instant,
    ) -> RequestContext {
        let client_id = header.client_id.as_deref().unwrap_or_default();
        if *self.client_id != *client_id {
            self.client_id = client_id.into();
        }
        let is_of_brokers = self.info.gate.is_of_brokers;
        RequestContext {
            api: header.api_key,
            version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: self.client_id.clone(),
            listener: self.info.listener.clone(),
            peer: self.info.peer,
            principal: self.principal().clone(),
            sender: Sender::of(is_of_brokers, &broker.guard, self.proving.proved()),
            bytes,
            received,
        }
    }

    /// SaslHandshake and SaslAuthenticate: the other end is a broker and proves it, or a client and
    /// authenticates.
    pub fn authenticate(
        &mut self,
        broker: &Broker,
        api: ApiKey,
        cx: &RequestContext,
        body: &mut Reader,
    ) -> Started {
        let started = match api {
            ApiKey::SaslHandshake => SaslHandshakeRequest::decode(body, cx.version)
                .map(|request| self.handshake(broker, cx, &request)),
            _ => SaslAuthenticateRequest::decode(body, cx.version)
                .map(|request| self.exchange(broker, cx, &request)),
        };
        started.unwrap_or_else(|error: DecodeError| malformed(cx, &error))
    }

    fn handshake(
        &mut self,
        broker: &Broker,
        cx: &RequestContext,
        request: &SaslHandshakeRequest,
    ) -> Started {
        let api = ApiKey::SaslHandshake;
        let is_proof = self.info.gate.is_of_brokers && &*request.mechanism == MECHANISM;
        let Some(sasl) = self.sasl.as_mut().filter(|_| !is_proof) else {
            let secret = broker.guard.secret().filter(|_| self.info.gate.is_of_brokers);
            return Started::Done(reply(api, cx, &self.proving.handshake(secret, request)));
        };
        if cx.version == 0 {
            // What follows it has no headers: a way of Kafka before 1.0.
            return Started::Done(Reply::Close("SaslHandshake of version 0 is not served"));
        }
        let answer = in_world(broker, &self.info, |world| sasl.handshake(world, request));
        match answer {
            Some(Answer { response, is_end }) => {
                self.say(broker, reply(api, cx, &response), is_end)
            }
            None => Started::Done(Reply::Close("no SASL here")),
        }
    }

    fn exchange(
        &mut self,
        broker: &Broker,
        cx: &RequestContext,
        request: &SaslAuthenticateRequest,
    ) -> Started {
        let api = ApiKey::SaslAuthenticate;
        let Some(sasl) = self.sasl.as_mut().filter(|_| !self.proving.is_under_way()) else {
            return self.prove(broker, cx, request);
        };
        let was_known = sasl.principal().is_some();
        let answer = in_world(broker, &self.info, |world| sasl.authenticate(world, request));
        self.is_news |= !was_known && sasl.principal().is_some();
        let Some(Answer { response, is_end }) = answer else {
            return Started::Done(Reply::Close("no SASL here"));
        };
        if is_end {
            let told = response.error_message.as_deref().unwrap_or_default().to_owned();
            self.info.gate.tell(self.info.peer, &Refused::Unauthenticated(told));
        }
        self.say(broker, reply(api, cx, &response), is_end)
    }

    /// The other end says that it is a broker, and has to prove it.
    fn prove(
        &mut self,
        broker: &Broker,
        cx: &RequestContext,
        request: &SaslAuthenticateRequest,
    ) -> Started {
        let secret = broker.guard.secret().filter(|_| self.info.gate.is_of_brokers);
        let (image, id) = (broker.image(), broker.id);
        let answer = self.proving.authenticate(secret, image.cluster_id(), id, request);
        if answer.error_code != 0 {
            let error = answer.error_message.as_deref().unwrap_or_default();
            // Anybody can send one; a broker tells of it itself.
            tracing::debug!(peer = %cx.peer, error, "a proof is refused");
        }
        self.is_news |= self.proving.proved().is_some();
        Started::Done(reply(ApiKey::SaslAuthenticate, cx, &answer))
    }

    /// Who fails hears of it late, so that guessing takes time, and has to connect anew.
    fn say(&self, broker: &Broker, reply: Reply, is_end: bool) -> Started {
        let Reply::Parts(parts) = reply else { return Started::Done(reply) };
        if !is_end {
            return Started::Done(Reply::Parts(parts));
        }
        let delay = Duration::from_millis(broker.config.net.failed_auth_delay_ms);
        Started::Later(Box::pin(async move {
            tokio::time::sleep(delay).await;
            Reply::Last(parts)
        }))
    }
}

fn in_world<T>(
    broker: &Broker,
    info: &ConnectionInfo,
    ask: impl FnOnce(&World<'_>) -> T,
) -> Option<T> {
    let image = broker.image();
    let nonce = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let world = World {
        config: info.gate.sasl.as_ref()?,
        users: &info.gate.users,
        scram: &|mechanism, user| image.scram_credentials().get(user, mechanism).cloned(),
        unknown: &broker.strangers,
        now_ms: monotonic_ms(),
        nonce: &nonce,
    };
    Some(ask(&world))
}
