//! The service manager (systemd): sockets that it opened, and what it wants to know. Without one, nothing happens.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::cli::Failure;
use crate::service::App;

/// Name of the socket for metrics in the manager's `FileDescriptorName=`; every other is the API's.
const METRICS: &str = "metrics";
/// What the manager is told to wait while the store is being opened, in microseconds.
const OPENING_US: u32 = 600_000_000;

/// Sockets that the manager listens on for the server, which then binds none itself.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) http: Option<TcpListener>,
    pub(super) metrics: Option<TcpListener>,
}

/// Takes over the sockets that came with the start. To be called once.
pub(super) fn sockets() -> Result<Sockets, Failure> {
    let mut sockets = Sockets::default();
    let given = sd_notify::listen_fds_with_names()
        .map_err(|error| format!("cannot use the service manager's sockets: {error}"))?;
    for (descriptor, name) in given {
        let place = if name == METRICS {
            &mut sockets.metrics
        } else {
            &mut sockets.http
        };
        if place.is_some() {
            return Err(format!(
                "the service manager gives two sockets for one purpose ({name}): one is for the API, one named \
                 {METRICS} for metrics"
            )
            .into());
        }
        *place = Some(listener(descriptor)?);
    }
    Ok(sockets)
}

fn listener(descriptor: RawFd) -> Result<TcpListener, Failure> {
    #[expect(
        unsafe_code,
        reason = "the manager's protocol hands descriptors over by their number"
    )]
    // SAFETY: LISTEN_PID names this process, so that the descriptor is open and meant for it; this is its only owner.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let listener = TcpListener::from(owned);
    let checked = listener
        .local_addr()
        .and_then(|_| listener.set_nonblocking(true));
    checked.map_err(|error| format!("the service manager's socket is not one for TCP: {error}"))?;
    Ok(listener)
}

/// The server is about to do what can take long.
pub(super) fn opening() {
    tell(&[
        NotifyState::Status("opening the store"),
        NotifyState::ExtendTimeoutUsec(OPENING_US),
    ]);
}

/// The server answers.
pub(super) fn ready(address: SocketAddr) {
    let status = format!("serving on {address}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The server lets running requests end.
pub(super) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("letting requests end"),
    ]);
}

/// Shows that the program still works, as often as the manager wants: twice within its patience. A store that hangs
/// keeps this from happening, a full disk does not.
pub(super) async fn watched(app: &App) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    let interval = patience
        .checked_div(2)
        .unwrap_or(patience)
        .max(Duration::from_millis(1));
    let mut tick = tokio::time::interval(interval);
    loop {
        tick.tick().await;
        drop(app.readiness().await);
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}
