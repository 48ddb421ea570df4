//! `pockitd serve`: open, bind, serve, drain, close.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Failure;
use crate::cli::manager;
use crate::cli::memory;
use crate::cli::print_line;
use crate::config;
use crate::config::Config;
use crate::http::admin;
use crate::http::metrics;
use crate::http::opening;
use crate::http::server;
use crate::http::tls::Tls;
use crate::service::App;
use crate::service::chain;

/// Reads the configuration anew.
type Read<'a> = dyn Fn() -> Result<Config, config::Error> + 'a;

/// Pause between two rounds of housekeeping.
const TIDY_EVERY: Duration = Duration::from_mins(1);

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Address and port to listen on (`http.listen`); port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Begin of the URLs in answers (`http.public_url`)
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// For measurements beside a server with the same configuration: plain HTTP, no metrics
    #[arg(long, hide = true)]
    private: bool,
}

impl Arguments {
    /// The keys that the flags stand for.
    pub(super) fn texts(&self) -> Vec<(String, String)> {
        let listen = self.listen.map(|value| ("http.listen", value.to_string()));
        let public_url = self
            .public_url
            .clone()
            .map(|value| ("http.public_url", value));
        listen
            .into_iter()
            .chain(public_url)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// Without the listeners that a private server has no use for.
    pub(super) fn applied(&self, mut config: Config) -> Config {
        if self.private {
            config.tls = config::Tls::default();
            config.metrics = config::Metrics::default();
        }
        config
    }
}

/// Serves until SIGTERM or SIGINT.
/// `read` reads the configuration anew.
pub(super) fn run(config: Config, read: &Read<'_>) -> Result<(), Failure> {
    memory::give_back_early();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config, read))
}

async fn serve(config: Config, read: &Read<'_>) -> Result<(), Failure> {
    let data_dir = std::path::absolute(&config.storage.data_dir)?;
    let address = config.http.listen;
    // Before the store is opened: a stop during a long recovery is a stop, too.
    let mut stop = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let hang_up = signal(SignalKind::hangup())?;
    // Whoever limits the size of files gets errors that say so, not a dead server.
    let _too_large = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    let tls = Tls::load(&config.tls)?;
    let renewals = signal(SignalKind::hangup())?;
    let sockets = manager::sockets()?;
    let listener = match sockets.http {
        Some(given) => TcpListener::from_std(given)?,
        None => bind(address, "http.listen").await?,
    };
    let for_metrics = match (sockets.metrics, config.metrics.listen) {
        (Some(given), _) => Some(TcpListener::from_std(given)?),
        (None, Some(address)) => Some(bind(address, "metrics.listen").await?),
        (None, None) => None,
    };
    manager::opening();
    let terms = (config.http.clone(), config.cors.clone());
    let terms = (&terms.0, &terms.1);
    let opened = tokio::select! {
        opened = opening::until(&listener, tls.as_ref(), terms, App::open(config)) => opened?,
        () = stopped(&mut stop) => return Ok(()),
    };
    let app = Arc::new(opened);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let bound = listener.local_addr()?;
    let url = format!("{scheme}://{bound}");
    tracing::info!(url, data_dir = %data_dir.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    print_line(&format!("listening on {url}"))?;
    let metrics_url = for_metrics.as_ref().map(TcpListener::local_addr);
    if let Some(address) = metrics_url.transpose()? {
        tracing::info!(url = format!("http://{address}/metrics"), "serving metrics");
    }
    manager::ready(bound);
    let stopping = CancellationToken::new();
    let renewed = renew(renewals, tls.clone(), &stopping);
    let served = server::run(listener, tls, Arc::clone(&app), stopping.cancelled());
    let asked = administer(&app, &stopping);
    let waited = async {
        stopped(&mut stop).await;
        manager::stopping();
        stopping.cancel();
    };
    let tidied = tidy(&app, &stopping);
    let collected = collect(&app, &stopping);
    let told = hung_up(hang_up, &app, read, &stopping);
    let counted = measured(for_metrics, &app, &stopping);
    let kept = keep_keys(&app, &stopping);
    let watched = watched(&app, &stopping);
    let healed = heal(&app, &stopping);
    tokio::join!(
        waited, served, asked, tidied, collected, told, counted, kept, renewed, watched, healed
    );
    app.close().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn stopped((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
    }
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => ": stop what uses it, or choose another",
            io::ErrorKind::PermissionDenied => ": ports below 1024 are for root; choose another",
            _ => "",
        };
        format!("cannot listen on {address} ({key}): {error}{hint}").into()
    })
}

/// Another certificate at SIGHUP, until the end. One that cannot be used changes nothing.
async fn renew(mut hang_up: Signal, tls: Option<Tls>, stopping: &CancellationToken) {
    let Some(tls) = tls else {
        return;
    };
    loop {
        tokio::select! {
            _ = hang_up.recv() => {}
            () = stopping.cancelled() => return,
        }
        match tls.reload() {
            Ok(()) => tracing::info!(
                "SIGHUP: new connections get the certificate that is in tls.certificate_file now"
            ),
            Err(error) => {
                let cause = chain(&error);
                tracing::error!(cause, "SIGHUP: the certificate before stays in use");
            }
        }
    }
}

/// Answers the service manager's watchdog until the end, where there is one.
async fn watched(app: &App, stopping: &CancellationToken) {
    tokio::select! {
        () = manager::watched(app) => {}
        () = stopping.cancelled() => {}
    }
}

/// Answers Prometheus until the end, where that is asked for.
async fn measured(listener: Option<TcpListener>, app: &Arc<App>, stopping: &CancellationToken) {
    let Some(listener) = listener else {
        return;
    };
    tokio::select! {
        () = metrics::run(listener, Arc::clone(app)) => {}
        () = stopping.cancelled() => {}
    }
}

/// A terminal that is closed is no reason to end; an operator gets a reload.
async fn hung_up(mut hang_up: Signal, app: &App, read: &Read<'_>, stopping: &CancellationToken) {
    loop {
        tokio::select! {
            _ = hang_up.recv() => {}
            () = stopping.cancelled() => return,
        }
        tokio::select! {
            () = reload_keys(app, read) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Reads the keys that prove tokens anew. What cannot be used changes nothing.
async fn reload_keys(app: &App, read: &Read<'_>) {
    let reloaded = match read() {
        Ok(config) => app
            .reload_keys(&config.auth)
            .await
            .map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    match reloaded {
        Ok(()) => tracing::info!(
            "SIGHUP: the keys are read anew; the rest of the configuration at the next start"
        ),
        Err(cause) => tracing::error!(cause, "SIGHUP: the keys before hold"),
    }
}

/// Fetches the keys of issuers until the end.
async fn keep_keys(app: &App, stopping: &CancellationToken) {
    tokio::select! {
        () = app.keep_keys() => {}
        () = stopping.cancelled() => {}
    }
}

/// Serves commands on this machine. A server that cannot is a server nevertheless.
async fn administer(app: &App, stopping: &CancellationToken) {
    match admin::listener::Listener::bind(&app.config.storage.data_dir) {
        Ok(listener) => {
            admin::listener::run(listener, Arc::clone(&app.admin), stopping.cancelled()).await;
        }
        Err(error) => {
            let file = admin::FILE_NAME;
            tracing::warn!(%error, file, "no admin socket: commands have to wait until this server stops");
        }
    }
}

/// Housekeeping until the end.
async fn tidy(app: &App, stopping: &CancellationToken) {
    let mut tick = tokio::time::interval(TIDY_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => app.tidy_memory(),
            () = stopping.cancelled() => return,
        }
    }
}

/// Replaces decode workers that die while they wait, until the end.
async fn heal(app: &App, stopping: &CancellationToken) {
    tokio::select! {
        ended = app.heal_workers() => if let Err(error) = ended {
            tracing::warn!(%error, "decode workers that are killed are replaced with the next picture only");
        },
        () = stopping.cancelled() => {}
    }
}

/// Collects garbage until the end.
async fn collect(app: &App, stopping: &CancellationToken) {
    let interval = Duration::from_secs(app.config.storage.gc_interval_s);
    if interval.is_zero() {
        return;
    }
    tokio::select! {
        () = app.admin.collect_regularly(interval) => {}
        () = stopping.cancelled() => {}
    }
}
