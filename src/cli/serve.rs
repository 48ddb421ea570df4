//! `pockitd serve`: open, bind, serve, drain, close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Failure;
use crate::cli::print_line;
use crate::config::Config;
use crate::http::metrics;
use crate::http::server;
use crate::service::App;

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
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(config: Config) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let data_dir = std::path::absolute(&config.storage.data_dir)?;
    let address = config.http.listen;
    // Before the store is opened: a stop during a long recovery is a stop, too.
    let mut stop = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} (http.listen): {error}"))?;
    let for_metrics = metrics_listener(config.metrics.listen).await?;
    let opened = tokio::select! {
        opened = App::open(config) => opened?,
        () = stopped(&mut stop) => return Ok(()),
    };
    let app = Arc::new(opened);
    let url = format!("http://{}", listener.local_addr()?);
    tracing::info!(url, data_dir = %data_dir.display(), version = env!("CARGO_PKG_VERSION"), "serving");
    print_line(&format!("listening on {url}"))?;
    let metrics_url = for_metrics.as_ref().map(TcpListener::local_addr);
    if let Some(address) = metrics_url.transpose()? {
        tracing::info!(url = format!("http://{address}/metrics"), "serving metrics");
    }
    let ended = server::run(listener, Arc::clone(&app), stopped(&mut stop));
    tokio::select! {
        () = ended => {}
        () = tidy(&app) => {}
        () = measured(for_metrics, &app) => {}
    }
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

async fn metrics_listener(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} (metrics.listen): {error}"))?;
    Ok(Some(listener))
}

/// Answers Prometheus for ever, where that is asked for.
async fn measured(listener: Option<TcpListener>, app: &Arc<App>) {
    match listener {
        Some(listener) => metrics::run(listener, Arc::clone(app)).await,
        None => std::future::pending().await,
    }
}

/// Housekeeping for ever.
async fn tidy(app: &App) {
    let mut tick = tokio::time::interval(TIDY_EVERY);
    loop {
        tick.tick().await;
        app.tidy_memory();
    }
}
