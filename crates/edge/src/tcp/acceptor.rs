//! A listening socket, and the pause after errors.

use spooky_net::tcp;
use spooky_telemetry::limited;
use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd as _,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, TcpStream};

/// Pause after the first error, for example when no file descriptor is left; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A listening socket, and the pause after errors.
pub(super) struct Acceptor {
    listener: TcpListener,
    /// Nothing is accepted before this time.
    paused_until: Option<Instant>,
    pause: Duration,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, paused_until: None, pause: FIRST_PAUSE }
    }

    /// Sets the time after which the kernel ends connections that are accepted from now on, if the client takes nothing.
    pub(super) fn limit_silence(&self, time: Duration) {
        tcp::limit_silence(self.listener.as_fd(), time);
    }

    /// When the pause is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Makes the kernel refuse connections, although other parts of the process hold the socket.
    pub(super) fn stop(self) {
        tcp::stop_listening(self.listener.as_fd());
    }

    /// Accepts a connection. If there is none, the listener wakes the task, or the pause is over at [`Acceptor::deadline`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        loop {
            match self.listener.poll_accept(cx) {
                Poll::Pending => return None,
                Poll::Ready(Ok(accepted)) => {
                    self.pause = FIRST_PAUSE;
                    return Some(accepted);
                }
                // The client has closed it again.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Poll::Ready(Err(error)) => {
                    let pause = self.pause;
                    limited!(
                        WARN,
                        now,
                        "Accepting TCP connections failed, paused for {} ms: {error}",
                        pause.as_millis()
                    );
                    (self.paused_until, self.pause) = (Some(now + pause), (pause * 2).min(MAX_PAUSE));
                    return None;
                }
            }
        }
    }
}
