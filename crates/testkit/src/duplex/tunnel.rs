//! Tunnels through the proxy.

use super::client::{Ask, Client};
use super::origin::Origin;
use super::stream::Stream;

/// Both ends of a tunnel.
pub struct Tunnel {
    /// The end at the client.
    pub client: Stream,
    /// The end at the backend.
    pub backend: Stream,
}

impl Tunnel {
    /// Opens a WebSocket at `/socket`.
    pub async fn websocket(client: &mut Client, backend: &mut Origin) -> Self {
        let mut client = client.open(Ask::WebSocket("/socket"), &[]).await.expect("an open connection");
        let request = backend.accept().await;
        assert_eq!(request.target, "/socket");
        let backend = request.open_websocket().await.expect("an open connection");
        let status = client.head().await.expect("a response").status;
        assert!(matches!(status, 101 | 200), "{status}");
        Self { client, backend }
    }

    /// Opens a tunnel by CONNECT to `db.example:443`.
    pub async fn connect(client: &mut Client, backend: &mut Origin) -> Self {
        let mut client = client.open(Ask::Connect("db.example:443"), &[]).await.expect("an open connection");
        let request = backend.accept().await;
        assert_eq!((&*request.method, &*request.target), ("CONNECT", "db.example:443"));
        let backend = request.respond(200, &[]).await.expect("an open connection");
        assert_eq!(client.head().await.expect("a response").status, 200);
        Self { client, backend }
    }

    /// Sends bytes in both directions.
    pub async fn talk(&mut self) {
        for (question, answer) in [(vec![1; 8], vec![2; 6]), (vec![3; 200_000], vec![4; 300_000])] {
            let (sent, received) = tokio::join!(self.client.send(&question), self.backend.read(question.len()));
            sent.expect("an open tunnel");
            assert!(received.expect("an open tunnel") == question, "the question is passed on");
            let (sent, received) = tokio::join!(self.backend.send(&answer), self.client.read(answer.len()));
            sent.expect("an open tunnel");
            assert!(received.expect("an open tunnel") == answer, "the answer is passed on");
        }
    }

    /// Ends one direction, checks that the other is still open, and ends it too.
    pub async fn end(self, client_ends_first: bool) {
        let Self { client, backend } = self;
        let (mut first, mut second) = if client_ends_first { (client, backend) } else { (backend, client) };
        first.end().await.expect("an open tunnel");
        assert_eq!(second.data().await.expect("an end in order"), None);
        second.send(b"late").await.expect("an open direction");
        assert_eq!(first.read(4).await.expect("an open direction"), b"late");
        second.end().await.expect("an open direction");
        assert_eq!(first.data().await.expect("an end in order"), None);
    }
}
