//! What strangers say before anybody knows them: conversations of SASL, and the first bytes of TLS.
//! The rules: no panic, nobody comes in by words that were changed, and a socket that ends is done
//! with at once.

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Result;
use base::tls::{ClientAuth, Pem, TlsIdentity, TlsSettings};
use server::security::sasl::testing::{PLAIN, SALTED, Talk, USER, last};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use transport::{Acceptor, Connector, HandshakeError, Patience};

use super::{INPUT_BYTES_MAX, Rng, mutate};

/// What takes longer is stuck.
const PATIENCE: Patience =
    Patience { silence: Some(Duration::from_secs(20)), handshake: Duration::from_secs(20) };

/// A text, half of the time with changes.
fn changed(rng: &mut Rng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if rng.below(2) == 0 {
        mutate(rng, &mut bytes);
    }
    bytes
}

/// A few attempts on one connection. True if one of them came in.
pub(super) fn conversation(rng: &mut Rng) -> bool {
    let mut talk = Talk::default();
    for _ in 0..=rng.below(2) {
        match rng.below(4) {
            0 => plain(rng, &mut talk),
            1 => scram(rng, &mut talk, "SCRAM-SHA-512"),
            _ => scram(rng, &mut talk, "SCRAM-SHA-256"),
        }
        talk.now_ms += 2_000;
    }
    talk.name().is_some()
}

/// A part of the attempt may be left out, or come twice.
fn step(rng: &mut Rng, talk: &mut Talk, message: &[u8]) -> Option<String> {
    if rng.below(16) == 0 {
        return None;
    }
    if rng.below(16) == 0 {
        drop(talk.say(message));
    }
    let answer = talk.say(message).ok()?;
    String::from_utf8(answer.auth_bytes.to_vec()).ok()
}

fn plain(rng: &mut Rng, talk: &mut Talk) {
    let before = talk.name();
    talk.handshake("PLAIN");
    let mut message = PLAIN.to_vec();
    if rng.below(2) == 0 {
        mutate(rng, &mut message);
    }
    step(rng, talk, &message);
    // In front of it there may be the name once more.
    assert!(talk.name() == before || message.ends_with(PLAIN), "{message:?}");
}

fn scram(rng: &mut Rng, talk: &mut Talk, mechanism: &str) {
    let before = talk.name();
    talk.handshake(mechanism);
    let is_user = rng.below(2) == 0;
    let is_password = rng.below(4) > 0;
    let first = format!("n={},r=client", if is_user { USER } else { "nobody" });
    let whole = format!("n,,{first}");
    let said = changed(rng, &whole);
    let challenge = step(rng, talk, &said).unwrap_or_default();
    let salted = if is_password { SALTED } else { b"another password" };
    let answer = last(mechanism, salted, &first, &challenge);
    let proof = changed(rng, &answer);
    step(rng, talk, &proof);
    let is_right = is_user && is_password && said == whole.as_bytes() && proof == answer.as_bytes();
    assert!(talk.name() == before || is_right, "{said:?} {proof:?}");
}

/// A listener with TLS, and the first bytes of a client that is welcome there.
struct Door {
    runtime: Runtime,
    listener: TcpListener,
    acceptor: Acceptor,
    hello: Vec<u8>,
}

/// The bytes of a hello with changes. True if the server went on with the handshake.
pub(super) fn hello(rng: &mut Rng) -> bool {
    static DOOR: OnceLock<Result<Door, String>> = OnceLock::new();
    let door = DOOR.get_or_init(|| Door::new().map_err(|error| format!("{error:#}")));
    let door = door.as_ref().unwrap_or_else(|error| panic!("a listener with TLS: {error}"));
    let mut bytes = match rng.below(8) {
        0 => (0..rng.below(200)).map(|_| rng.byte()).collect(),
        _ => door.hello.clone(),
    };
    mutate(rng, &mut bytes);
    bytes.truncate(INPUT_BYTES_MAX);
    let knocked = door.runtime.block_on(door.knock(&bytes));
    knocked.unwrap_or_else(|error| panic!("knock with {bytes:?}: {error:#}"))
}

impl Door {
    fn new() -> Result<Door> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let key = rcgen::KeyPair::generate()?;
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
        let pem = Pem::Text(params.self_signed(&key)?.pem().into());
        let identity =
            TlsIdentity { chain: pem.clone(), key: Pem::Text(key.serialize_pem().into()) };
        let settings = TlsSettings {
            identity: Some(identity),
            trust: Some(pem),
            client_auth: ClientAuth::Requested,
            tls12: true,
            tls13: true,
            verifies_names: true,
        };
        let acceptor = Acceptor::tls(settings.clone())?;
        let connector = Connector::tls(settings)?;
        let (listener, hello) = runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let tcp = TcpStream::connect(listener.local_addr()?).await?;
            let heard = async {
                let (mut server, _) = listener.accept().await?;
                let mut hello = vec![0; INPUT_BYTES_MAX];
                let length = server.read(&mut hello).await?;
                hello.truncate(length);
                Ok::<Vec<u8>, anyhow::Error>(hello)
            };
            // It is told nothing, and ends.
            let (_, heard) = tokio::join!(connector.connect(tcp, "localhost"), heard);
            Ok::<_, anyhow::Error>((listener, heard?))
        })?;
        Ok(Door { runtime, listener, acceptor, hello })
    }

    async fn knock(&self, bytes: &[u8]) -> Result<bool> {
        let mut client = TcpStream::connect(self.listener.local_addr()?).await?;
        let (server, _) = self.listener.accept().await?;
        client.write_all(bytes).await?;
        client.shutdown().await?;
        let refused = match self.acceptor.accept(server, PATIENCE).await {
            Ok(_) => panic!("somebody came in by a hello alone: {bytes:?}"),
            Err(refused) => refused,
        };
        let is_stuck = matches!(refused, HandshakeError::Silent | HandshakeError::Slow);
        assert!(!is_stuck, "the socket has ended: {bytes:?}");
        // A hello is answered by one, or by an alert.
        let mut first = [0];
        let told = client.read(&mut first).await;
        Ok(told.is_ok_and(|count| count == 1) && first == [0x16])
    }
}
