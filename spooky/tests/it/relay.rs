//! A TCP relay in front of an origin, so that a test can close its port and open it again.

use std::net::SocketAddr;

use spooky_testkit::wait;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Relay(JoinSet<()>);

impl Relay {
    /// Starts listening on this address; waits until the address is free.
    pub(crate) async fn open(at: SocketAddr, origin: SocketAddr) -> Self {
        let bind = || async { TcpListener::bind(at).await.ok() };
        let listener = wait::until(wait::BOUND, "the port to be free again", bind).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut relays = JoinSet::new();
            loop {
                let Ok((mut outer, _)) = listener.accept().await else { continue };
                relays.spawn(async move {
                    if let Ok(mut inner) = TcpStream::connect(origin).await {
                        let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
        Self(tasks)
    }

    /// Closes the port and every connection through it.
    pub(crate) async fn close(mut self) {
        self.0.shutdown().await;
    }
}
