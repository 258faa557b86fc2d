//! Signals of the process: SIGTERM and SIGINT stop it, SIGHUP reloads, SIGUSR1 and SIGUSR2 are ignored.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that other proxies handle and that would kill the process by default, with the advice that is logged.
const WITHOUT_FUNCTION: [(&str, SignalKind, &str); 2] = [
    ("SIGUSR1", SignalKind::user_defined1(), "there is no log file to reopen; the log goes to standard error"),
    ("SIGUSR2", SignalKind::user_defined2(), "a running process cannot be replaced yet; stop it and start the new one"),
];

/// The registered signals. A signal that arrives before it is awaited is kept.
pub(crate) struct Signals {
    stop: [Signal; 2],
    reload: Option<Signal>,
    ignored: Vec<Ignored>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

struct Ignored {
    signal: Signal,
    name: &'static str,
    advice: &'static str,
    is_reported: bool,
}

impl Signals {
    /// Registers SIGTERM and SIGINT. Must be called within a Tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { stop, reload: None, ignored: Vec::new() })
    }

    /// Also registers SIGHUP, and SIGUSR1 and SIGUSR2, which are ignored with one warning each.
    pub(crate) fn of_service() -> io::Result<Self> {
        let ignored = WITHOUT_FUNCTION
            .into_iter()
            .map(|(name, kind, advice)| Ok(Ignored { signal: signal(kind)?, name, advice, is_reported: false }));
        let reload = Some(signal(SignalKind::hangup())?);
        Ok(Self { reload, ignored: ignored.collect::<io::Result<_>>()?, ..Self::new()? })
    }

    /// Waits for the next signal that is not ignored. A stop takes precedence over a reload.
    pub(crate) async fn next(&mut self) -> Action {
        poll_fn(|cx| {
            self.ignored.iter_mut().for_each(|ignored| ignored.poll(cx));
            if self.poll_stop(cx) {
                return Poll::Ready(Action::Stop);
            }
            let reload = self.reload.as_mut().is_some_and(|signal| signal.poll_recv(cx).is_ready());
            if reload { Poll::Ready(Action::Reload) } else { Poll::Pending }
        })
        .await
    }

    /// Waits for the next SIGTERM or SIGINT.
    pub(crate) async fn stop(&mut self) {
        poll_fn(|cx| {
            self.ignored.iter_mut().for_each(|ignored| ignored.poll(cx));
            if self.poll_stop(cx) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Polls both signals, so that each is registered with the task.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        self.stop.iter_mut().fold(false, |any, signal| any | signal.poll_recv(cx).is_ready())
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
