//! A proxy with a control API, and requests to it.

use std::net::SocketAddr;

use serde_json::Value;
use spooky_testkit::settings::Settings;
use spooky_testkit::tcp::{Http1, Http1Reply};
use spooky_testkit::{port, wait};
use tokio::net::TcpStream;

use crate::proxy::Proxy;

pub(super) struct Rig {
    pub(super) proxy: Proxy,
    pub(super) at: SocketAddr,
}

/// A status and the JSON of the answer.
pub(super) type Answer = (u16, Value);

impl Rig {
    /// Starts a proxy with these backends of the upstream `all`, and waits until its control API answers.
    pub(super) async fn start(backends: &[String]) -> Self {
        Self::start_with(backends, "", |settings| settings).await
    }

    /// As [`Rig::start`]; `keys` are further keys of `control_api`, each preceded by a comma.
    pub(super) async fn start_with(backends: &[String], keys: &str, adjust: impl Fn(Settings) -> Settings) -> Self {
        let at = port::free();
        let block = observability(at, keys);
        let proxy = Proxy::start(|settings| adjust(settings.upstream("all", "/", backends).block(&block))).await;
        wait::until(wait::BOUND, "the control API", || async { TcpStream::connect(at).await.ok() }).await;
        Self { proxy, at }
    }

    /// Sends a request with a body, and further field lines, each ended by CRLF.
    pub(super) async fn send(&self, method: &str, path: &str, fields: &str, body: &str) -> Http1Reply {
        send(self.at, method, path, fields, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        json(&self.send("GET", path, "", "").await)
    }

    pub(super) async fn post(&self, path: &str) -> Answer {
        self.post_body(path, "").await
    }

    pub(super) async fn post_body(&self, path: &str, body: &str) -> Answer {
        json(&self.send("POST", path, "", body).await)
    }

    /// Waits until the endpoint of readiness answers with this status.
    pub(super) async fn ready(&self, status: u16) -> Value {
        wait::until(wait::BOUND, "readiness", || async {
            let (found, body) = self.get("/ready").await;
            (found == status).then_some(body)
        })
        .await
    }
}

/// The block of a configuration that enables the API.
pub(super) fn observability(at: SocketAddr, keys: &str) -> String {
    format!("observability:\n  control_api: {{ enabled: true, required: true, port: {}{keys} }}", at.port())
}

/// Sends a request on a connection of its own.
pub(super) async fn send(at: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> Http1Reply {
    let mut connection = Http1::over(wait::within("TCP", TcpStream::connect(at)).await.expect("connect"));
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {at}\r\ncontent-length: {length}\r\n{fields}\r\n");
    connection.send(head + body).await;
    connection.reply().await
}

/// Returns status and JSON, and checks that the keys of all objects are in alphabetical order.
pub(super) fn json(reply: &Http1Reply) -> Answer {
    assert_eq!(reply.field("content-type"), "application/json", "{reply:?}");
    let value: Value = serde_json::from_str(reply.text()).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    // An object of this library sorts its keys. Numbers may be written in another way.
    let keys = |text: &str| text.replace(|byte: char| byte.is_ascii_digit() || byte == '.', "");
    let sorted = serde_json::to_string(&value).unwrap() + "\n";
    assert_eq!(keys(&sorted), keys(reply.text()), "keys in alphabetical order");
    (reply.status(), value)
}
