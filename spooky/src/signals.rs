//! The signals that end the process: SIGTERM and SIGINT. Called by `runtime` and by the demo.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals. One that comes before it is awaited is kept.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Registers for them; called on a Tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
