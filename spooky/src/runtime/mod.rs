//! The life of the process in phases: bind, load certificates, start workers, wait for a signal, drain, stop.

mod bind;
mod compile;
mod log;
mod threads;

use spooky_config::Config;
use std::{process::ExitCode, time::Duration};
use tokio::sync::oneshot;

pub(crate) use bind::Bound;

/// A worker's end of the stop signal.
pub(crate) struct Signals {
    stop: oneshot::Receiver<Duration>,
}

impl Signals {
    pub(crate) fn new() -> (oneshot::Sender<Duration>, Self) {
        let (sender, stop) = oneshot::channel();
        (sender, Self { stop })
    }

    /// The grace that a stop leaves, once one was asked for. A supervisor that is gone leaves none.
    pub(crate) fn poll_stop(&mut self, cx: &mut std::task::Context<'_>) -> Option<Duration> {
        match std::pin::Pin::new(&mut self.stop).poll(cx) {
            std::task::Poll::Ready(grace) => Some(grace.unwrap_or_default()),
            std::task::Poll::Pending => None,
        }
    }
}

/// Serves this configuration until a signal ends it.
pub(crate) fn serve(config: Config) -> ExitCode {
    log::start(&config);
    match start(config) {
        Ok(running) => running.wait(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Binds everything and starts the workers; on an error nothing stays bound.
pub(crate) fn start(config: Config) -> Result<threads::Running, StartError> {
    tracing::info!("Spooky is starting");
    let workers = config.performance.worker_threads.unwrap_or(spooky_net::sys::affinity::available_parallelism());
    let workers = u16::try_from(workers).unwrap_or(u16::MAX);
    let bound = Bound::new(&config, workers)?;
    let snapshot = compile::snapshot(config)?;
    threads::Running::new(bound, snapshot, workers)
}

/// Why the process cannot start: the text for the operator.
#[derive(Debug)]
pub(crate) struct StartError(pub(crate) String);

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}
