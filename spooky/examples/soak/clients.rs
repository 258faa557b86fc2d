//! The clients: each sends one request after another on its connection, and checks the responses.

use crate::{
    NAME,
    ask::Ask,
    ledger::{Broken, Ledger},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use spooky_testkit::{
    certs::Authority,
    client::{Client, Connection, Failure},
    rng::Rng,
    tcp::{Http1, Http2, Http2Error, Reason},
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Clients of each protocol.
const CLIENTS: usize = 6;
/// Pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a request is sent again that was not processed.
const REPETITIONS: usize = 5;
/// `H3_REQUEST_REJECTED`.
const H3_REJECTED: u64 = 0x10B;

const PROTOCOLS: [&str; 3] = ["HTTP/3", "HTTP/2", "HTTP/1.1"];

enum Link {
    H3(Connection),
    H2(Http2),
    /// The second value is set when the server has announced that it closes the connection.
    H1(Box<Http1>, bool),
}

enum Failed {
    /// The request was not processed, so it can be sent again.
    Unprocessed,
    Broken(Broken),
    /// A complete response with another body; nothing excuses it.
    Wrong(String),
}

pub(crate) fn start(authority: &Arc<Authority>, addr: SocketAddr, ledger: &Arc<Ledger>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS * PROTOCOLS.len() {
        clients.spawn(run(number, authority.clone(), addr, ledger.clone()));
    }
    clients
}

async fn run(number: usize, authority: Arc<Authority>, addr: SocketAddr, ledger: Arc<Ledger>) {
    let protocol = number % PROTOCOLS.len();
    let mut rng = Rng::new(number as u64);
    let client = Client::new(&authority);
    let mut link = connect(protocol, &client, &authority, addr).await;
    loop {
        let ask = Ask::draw(&mut rng);
        let began = Instant::now();
        for repetition in 0.. {
            match link.fetch(&ask).await {
                Ok(()) => {
                    ledger.on_served(protocol);
                    break;
                }
                Err(Failed::Unprocessed) if repetition < REPETITIONS => ledger.on_repeated(),
                Err(failed) => {
                    let what = format!("{} {}", PROTOCOLS.get(protocol).unwrap_or(&""), ask.path);
                    let broken = match failed {
                        Failed::Broken(broken) => broken,
                        Failed::Wrong(text) => {
                            ledger.on_violation(format!("{what}: {text}"));
                            break;
                        }
                        Failed::Unprocessed => Broken { text: "never processed".to_owned(), has_head: false },
                    };
                    ledger.on_failed(&what, ask.body.is_some(), began, &broken);
                    link = connect(protocol, &client, &authority, addr).await;
                    break;
                }
            }
            link = connect(protocol, &client, &authority, addr).await;
        }
        if link.is_closing() {
            link = connect(protocol, &client, &authority, addr).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect(protocol: usize, client: &Client, authority: &Authority, addr: SocketAddr) -> Link {
    match protocol {
        0 => Link::H3(client.connect_when_up(addr, NAME).await),
        1 => Link::H2(Http2::connect(authority, addr, NAME).await),
        _ => Link::H1(Box::new(Http1::connect(authority, addr, NAME).await), false),
    }
}

impl Link {
    fn is_closing(&self) -> bool {
        match self {
            Self::H3(connection) => connection.quic().close_reason().is_some(),
            Self::H2(_) => false,
            Self::H1(_, is_closing) => *is_closing,
        }
    }

    async fn fetch(&mut self, ask: &Ask) -> Result<(), Failed> {
        match self {
            Self::H3(connection) => over_h3(connection, ask).await,
            Self::H2(connection) => over_h2(connection, ask).await,
            Self::H1(connection, is_closing) => {
                *is_closing = over_h1(connection, ask).await?;
                Ok(())
            }
        }
    }
}

/// Checks a complete response.
fn check(ask: &Ask, status: u16, body: &[u8]) -> Result<(), Failed> {
    if status != StatusCode::OK.as_u16() {
        let text = format!("status {status} {}", String::from_utf8_lossy(body).trim_end());
        return Err(Failed::Broken(Broken { text, has_head: false }));
    }
    if body != ask.expected {
        let text = format!("{} bytes instead of {}, or other ones", body.len(), ask.expected.len());
        return Err(Failed::Wrong(text));
    }
    Ok(())
}

fn request(ask: &Ask) -> Request<()> {
    let method = if ask.body.is_some() { "POST" } else { "GET" };
    let url = format!("https://{NAME}{}", ask.path);
    Request::builder().method(method).uri(url).body(()).expect("a request")
}

async fn over_h3(connection: &Connection, ask: &Ask) -> Result<(), Failed> {
    let failed = |has_head: bool| {
        move |failure: Failure| match failure {
            Failure::GoingAway | Failure::Stream(H3_REJECTED) if !has_head => Failed::Unprocessed,
            other => Failed::Broken(Broken { text: format!("{other:?}"), has_head }),
        }
    };
    let is_closed = connection.quic().close_reason().is_some();
    let exchange = match connection.open(request(ask)).await {
        Ok(exchange) => exchange,
        Err(_) if is_closed => return Err(Failed::Unprocessed),
        Err(failure) => return Err(failed(false)(failure)),
    };
    let (mut sending, mut reading) = exchange.split();
    let upload = async {
        if let Some(body) = &ask.body {
            sending.data(body.clone()).await?;
        }
        sending.finish().await
    };
    let download = async {
        let head = reading.head().await.map_err(failed(false))?;
        let mut body = Vec::new();
        while let Some(piece) = reading.data().await.map_err(failed(true))? {
            body.extend_from_slice(&piece);
        }
        reading.trailers().await.map_err(failed(true))?;
        check(ask, head.status().as_u16(), &body)
    };
    // A response may come before the upload has ended, which then fails.
    let (_, downloaded) = tokio::join!(upload, download);
    downloaded
}

async fn over_h2(connection: &mut Http2, ask: &Ask) -> Result<(), Failed> {
    let failed = |error: Http2Error, has_head: bool| {
        let is_unprocessed = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
        if is_unprocessed && !has_head {
            return Failed::Unprocessed;
        }
        Failed::Broken(Broken { text: error.to_string(), has_head })
    };
    let (response, mut sending) =
        connection.open(request(ask), ask.body.is_none()).await.map_err(|_| Failed::Unprocessed)?;
    let upload = async {
        let mut rest = ask.body.clone().unwrap_or_default();
        while !rest.is_empty() {
            sending.reserve_capacity(rest.len());
            let Some(Ok(granted)) = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await else { return };
            if sending.send_data(rest.split_to(granted.min(rest.len())), false).is_err() {
                return;
            }
        }
        if ask.body.is_some() {
            let _ = sending.send_data(Bytes::new(), true);
        }
    };
    let download = async {
        let (head, mut stream) = response.await.map_err(|error| failed(error, false))?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = stream.data().await {
            let piece = piece.map_err(|error| failed(error, true))?;
            stream.flow_control().release_capacity(piece.len()).map_err(|error| failed(error, true))?;
            body.extend_from_slice(&piece);
        }
        check(ask, head.status.as_u16(), &body)
    };
    tokio::pin!(upload, download);
    let mut is_uploaded = false;
    loop {
        tokio::select! {
            () = &mut upload, if !is_uploaded => is_uploaded = true,
            downloaded = &mut download => return downloaded,
        }
    }
}

/// Returns whether the server closes the connection after the response.
async fn over_h1(connection: &mut Http1, ask: &Ask) -> Result<bool, Failed> {
    let mut message = match &ask.body {
        None => format!("GET {} HTTP/1.1\r\nhost: {NAME}\r\n\r\n", ask.path).into_bytes(),
        Some(body) => {
            let length = body.len();
            format!("POST {} HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: {length}\r\n\r\n", ask.path).into_bytes()
        }
    };
    message.extend_from_slice(ask.body.as_deref().unwrap_or_default());
    // An idle connection may be closed at any time (RFC 9112 9.3.1); a request of which nothing came back is sent again.
    connection.try_send(&message).await.map_err(|_| Failed::Unprocessed)?;
    let Ok(head) = connection.try_head().await else { return Err(Failed::Unprocessed) };
    let length: usize = head.field("content-length").parse().map_err(|_| {
        Failed::Broken(Broken { text: format!("{} without a length", head.status_line), has_head: true })
    })?;
    let body = connection.exactly(length).await;
    let body = body.map_err(|error| Failed::Broken(Broken { text: error.to_string(), has_head: true }))?;
    check(ask, head.status(), &body)?;
    Ok(head.field("connection").eq_ignore_ascii_case("close"))
}
