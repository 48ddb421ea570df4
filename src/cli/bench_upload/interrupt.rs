//! Ctrl-C during a run: the first ends it in order, the second gives up what is still waited for.

use std::io::{self, Write};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What Ctrl-C has asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    /// To send nothing more.
    pub(super) stop: CancellationToken,
    /// To wait for no answer either.
    pub(super) give_up: CancellationToken,
}

impl Interrupt {
    /// Listens until the handle is dropped.
    pub(super) fn listen() -> (Self, AbortOnDropHandle<()>) {
        let asked = Self::default();
        let listening = tokio::spawn({
            let asked = asked.clone();
            async move {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                asked.stop.cancel();
                // Nobody may be reading it.
                drop(writeln!(
                    io::stderr(),
                    "stopping when the uploads under way are answered; Ctrl-C again gives them up"
                ));
                if tokio::signal::ctrl_c().await.is_ok() {
                    asked.give_up.cancel();
                }
            }
        });
        (asked, AbortOnDropHandle::new(listening))
    }

    /// Whether the run was to end before its end.
    pub(super) fn has_come(&self) -> bool {
        self.stop.is_cancelled()
    }
}
