//! One TCP socket of a listener on one worker, with its connections: that of TLS clients, or that of the redirect.

use spooky_edge::{TcpEdge, TcpSettings};
use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    task::Context,
    time::Instant,
};

/// A TCP socket for one worker, and its settings.
#[derive(Clone)]
pub(crate) struct TcpIngress {
    pub(crate) socket: Arc<OwnedFd>,
    pub(crate) settings: TcpSettings,
}

/// The connections of a TCP socket. Stays when the socket is removed from the configuration, until they have drained.
#[derive(Default)]
pub(crate) struct TcpConnections {
    pub(crate) edge: Option<TcpEdge>,
    /// The socket from which connections are accepted.
    socket: Option<Arc<OwnedFd>>,
}

impl TcpConnections {
    /// Applies a new configuration; without one, connections drain. Must be called within the worker's runtime.
    pub(crate) fn configure(&mut self, ingress: Option<&TcpIngress>, now: Instant) -> io::Result<()> {
        let Some(TcpIngress { socket, settings }) = ingress else {
            if self.socket.take().is_some() {
                self.drain(now);
            }
            return Ok(());
        };
        let edge = self.edge.get_or_insert_with(|| TcpEdge::new(settings.clone()));
        edge.configure(settings.clone());
        if self.socket.as_ref().is_none_or(|current| !Arc::ptr_eq(current, socket)) {
            edge.listen(socket.as_fd())?;
            self.socket = Some(socket.clone());
        }
        Ok(())
    }

    pub(crate) fn connections(&self) -> usize {
        self.edge.as_ref().map_or(0, TcpEdge::connections)
    }

    /// Reads what has arrived and handles time limits. Returns true if there may be more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(edge) = &mut self.edge else { return false };
        let has_more = edge.poll_io(cx, now);
        edge.on_time(now);
        has_more
    }

    /// Sends what waits for the clients. Returns true if it must be polled again at once.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        let Some(edge) = &mut self.edge else { return false };
        edge.flush(now);
        edge.has_work()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.edge.as_ref().and_then(TcpEdge::deadline)
    }

    /// Leaves new connections to another process that shares the socket.
    pub(crate) fn hand_over(&mut self) {
        if let Some(edge) = &mut self.edge {
            edge.hand_over();
        }
    }

    /// Refuses new connections and ends the others gracefully.
    pub(crate) fn drain(&mut self, now: Instant) {
        if let Some(edge) = &mut self.edge {
            edge.drain(now);
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(edge) = &mut self.edge {
            edge.close(now);
        }
    }
}
