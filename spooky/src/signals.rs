//! The signals of the process: SIGTERM and SIGINT stop it, those that have no function yet are ignored. Called by `runtime`
//! and by the demo.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that operators send to a proxy, which would kill it by default, and what they have to do meanwhile.
const WITHOUT_FUNCTION: [(&str, SignalKind, &str); 3] = [
    ("SIGHUP", SignalKind::hangup(), "the configuration is read at start only; restart the process to apply a change"),
    ("SIGUSR1", SignalKind::user_defined1(), "there is no log file to reopen; the log goes to standard error"),
    ("SIGUSR2", SignalKind::user_defined2(), "a running process cannot be replaced yet; stop it and start the new one"),
];

/// The registered signals. One that arrives before it is awaited is kept.
pub(crate) struct Signals {
    stop: [Signal; 2],
    ignored: Vec<Ignored>,
}

/// A signal without a function.
struct Ignored {
    signal: Signal,
    name: &'static str,
    advice: &'static str,
    is_reported: bool,
}

impl Signals {
    /// Registers SIGTERM and SIGINT; called on a Tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { stop, ignored: Vec::new() })
    }

    /// Registers also SIGHUP, SIGUSR1 and SIGUSR2, which [`Signals::next`] then ignores with one warning each.
    pub(crate) fn of_service() -> io::Result<Self> {
        let ignored = WITHOUT_FUNCTION
            .into_iter()
            .map(|(name, kind, advice)| Ok(Ignored { signal: signal(kind)?, name, advice, is_reported: false }));
        Ok(Self { ignored: ignored.collect::<io::Result<_>>()?, ..Self::new()? })
    }

    /// Waits for the next SIGTERM or SIGINT.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| {
            self.ignored.iter_mut().for_each(|ignored| ignored.poll(cx));
            let mut stop = self.stop.iter_mut().map(|signal| signal.poll_recv(cx).is_ready());
            // Both are polled, so that each of them wakes the task.
            if stop.by_ref().fold(false, |any, arrived| any | arrived) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Ignored {
    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.signal.poll_recv(cx) {
            if !std::mem::replace(&mut self.is_reported, true) {
                tracing::warn!("{} ignored: {}", self.name, self.advice);
            }
        }
    }
}
