//! The process: logs, HTTP, the Lease, and the controllers while it is held.

mod http;
mod lease;
mod telemetry;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::runtime::{Settings, Stop};
use crate::{Context, cluster, entity, topic};
use lease::Lease;

/// How long passes in progress may take to end after a signal.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM, or until the Lease is lost, which is an error: the process ends, and with
/// it everything that it might still have done.
pub fn run(settings: Settings) -> Result<()> {
    telemetry::start(&settings)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start tasks")?
        .block_on(run_async(settings))
}

/// Prints the custom resource definitions as YAML.
pub fn print_crds() -> Result<()> {
    print!("{}", crd::all_yaml()?);
    Ok(())
}

async fn run_async(settings: Settings) -> Result<()> {
    let client = Client::try_default().await.context("connect to the API server")?;
    let context = Arc::new(Context::new(client, settings));
    let stop = Stop::default();
    stop_on_signals(stop.clone())?;
    let listener = listen(context.settings.http_address)
        .await
        .with_context(|| format!("listen on {}", context.settings.http_address))?;
    let http = tokio::spawn(http::serve(context.clone(), listener, stop.clone()));
    let result = lead(&context, &stop).await;
    stop.stop();
    if let Err(error) = entity::release_finalizers::<topic::Topics>(&context).await {
        tracing::warn!(%error, "Topics may keep the namespace from going");
    }
    http.await.context("HTTP")??;
    result
}

/// Where there is no IPv6, every address is every one of IPv4.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() != ErrorKind::AddrInUse && is_any(address) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

fn is_any(address: SocketAddr) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED
}

fn stop_on_signals(stop: Stop) -> Result<()> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.stop();
    });
    Ok(())
}

/// Takes the Lease, runs the controllers while it is held, and gives it back.
async fn lead(context: &Arc<Context>, stop: &Stop) -> Result<()> {
    if context.settings.no_leader_election {
        // It works: the alert for an operator that is absent goes by that.
        context.metrics.leading.with_label_values::<&str>(&[]).set(1);
        return control(context, stop).await;
    }
    let mut lease = Lease::new(context.clone());
    tokio::select! {
        () = lease.acquire() => {}
        () = stop.stopped() => return Ok(()),
    }
    context.metrics.leading.with_label_values::<&str>(&[]).set(1);
    let result = tokio::select! {
        result = control(context, stop) => result,
        () = lease.keep() => bail!("the Lease is lost"),
    };
    lease.release().await;
    result
}

/// Runs the controllers until stopped; the end of one is the end of all.
async fn control(context: &Arc<Context>, stop: &Stop) -> Result<()> {
    let mut controllers = tokio::task::JoinSet::new();
    controllers.spawn(cluster::run(context.clone(), stop.clone()));
    controllers.spawn(topic::run(context.clone(), stop.clone()));
    let first = controllers.join_next().await;
    let early = !stop.is_stopped();
    stop.stop();
    let rest = timeout(STOP_PATIENCE, async { while controllers.join_next().await.is_some() {} });
    if rest.await.is_err() {
        tracing::warn!("a pass did not end in time");
    }
    match first {
        Some(Ok(result)) => result?,
        Some(Err(error)) => return Err(error).context("a controller"),
        None => {}
    }
    if early {
        bail!("a controller ended by itself");
    }
    Ok(())
}
