//! Signals of the process: SIGTERM and SIGINT stop it, SIGHUP reloads, SIGUSR1 reopens the log file, SIGUSR2
//! starts the upgrade.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The registered signals. A signal that arrives before it is awaited is kept.
pub(crate) struct Signals {
    stop: [Signal; 2],
    service: Option<ServiceSignals>,
}

/// The signals of a process that runs until it is stopped.
struct ServiceSignals {
    reload: Signal,
    reopen_log: Signal,
    upgrade: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ReopenLog,
    /// SIGUSR2.
    Upgrade,
}

impl Signals {
    /// Registers SIGTERM and SIGINT. Must be called within a Tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { stop, service: None })
    }

    /// Also registers SIGHUP, SIGUSR1 and SIGUSR2.
    pub(crate) fn of_service() -> io::Result<Self> {
        let service = ServiceSignals {
            reload: signal(SignalKind::hangup())?,
            reopen_log: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        };
        Ok(Self { service: Some(service), ..Self::new()? })
    }

    /// Waits for the next signal. A stop takes precedence.
    pub(crate) async fn next(&mut self) -> Action {
        poll_fn(|cx| {
            if self.poll_stop(cx) {
                return Poll::Ready(Action::Stop);
            }
            self.service.as_mut().map_or(Poll::Pending, |service| service.poll(cx))
        })
        .await
    }

    /// Waits for the next SIGTERM or SIGINT.
    pub(crate) async fn stop(&mut self) {
        poll_fn(|cx| {
            if self.poll_stop(cx) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Polls both signals, so that each is registered with the task.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        self.stop.iter_mut().fold(false, |any, signal| any | signal.poll_recv(cx).is_ready())
    }
}

impl ServiceSignals {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Action> {
        if self.reload.poll_recv(cx).is_ready() {
            Poll::Ready(Action::Reload)
        } else if self.reopen_log.poll_recv(cx).is_ready() {
            Poll::Ready(Action::ReopenLog)
        } else if self.upgrade.poll_recv(cx).is_ready() {
            Poll::Ready(Action::Upgrade)
        } else {
            Poll::Pending
        }
    }
}
