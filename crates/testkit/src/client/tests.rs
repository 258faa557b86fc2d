//! The client against h3's own server, on one connection each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Buf;
use http::{Response, StatusCode};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};

use super::raw::End;
use super::{Client, Failure, frame, get};
use crate::certs::{Authority, Files};
use crate::pattern::{Pattern, sha256};
use crate::process::Program;
use crate::{program, wait};

/// A server that echoes bodies with a trailer, and resets `/reset` with 0x10c.
fn serve(authority: &Authority) -> SocketAddr {
    let tls = authority.issue(&["localhost"]).server_config(&[b"h3"]);
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(connection(incoming.await.unwrap()));
        }
    });
    addr
}

async fn connection(quic: quinn::Connection) {
    let mut server = h3::server::builder().build(h3_quinn::Connection::new(quic)).await.unwrap();
    while let Ok(Some(resolver)) = server.accept().await {
        let Ok((request, mut stream)) = resolver.resolve_request().await else { continue };
        if request.uri().path() == "/reset" {
            stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
            continue;
        }
        stream.send_response(Response::new(())).await.unwrap();
        while let Ok(Some(mut data)) = stream.recv_data().await {
            let piece = data.copy_to_bytes(data.remaining());
            stream.send_data(piece).await.unwrap();
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-end", "yes".parse().unwrap());
        stream.send_trailers(trailers).await.unwrap();
        stream.finish().await.unwrap();
    }
}

#[tokio::test]
async fn bodies_and_trailers_both_ways() {
    let authority = Authority::new();
    let addr = serve(&authority);
    let client = Client::new(&authority);
    let connection = client.connect_when_up(addr, "localhost").await;
    let body = Pattern::bytes(5, 300_000);
    let reply = connection.post("/", body.clone()).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(sha256(&reply.body), sha256(&body));
    assert_eq!(reply.trailers.unwrap()["x-end"], "yes");
    assert_eq!(connection.get("/reset").await.unwrap_err(), Failure::Stream(0x10c));
    client.rebind();
    assert_eq!(connection.get("/").await.unwrap().text(), "");
}

#[tokio::test]
async fn requests_run_side_by_side() {
    let authority = Authority::new();
    let client = Client::new(&authority);
    let connection = client.connect(serve(&authority), "localhost").await;
    let mut first = connection.open(get("/").map(|_| ())).await.unwrap();
    assert_eq!(first.reading.head().await.unwrap().status(), 200);
    drop(connection.clone());
    first.sending.data("abc").await.unwrap();
    assert_eq!(first.reading.data().await.unwrap().unwrap(), "abc");
    first.cancel();
}

#[tokio::test]
async fn raw_frames_come_back_as_frames() {
    let authority = Authority::new();
    let client = Client::new(&authority);
    let raw = client.connect_raw(serve(&authority), "localhost").await;
    raw.send_settings().await;
    let mut request = raw.request(&frame::get("/"), false).await;
    request.write(&frame::frame(frame::kind::DATA, b"hi")).await;
    request.end();
    let answer = request.answer().await.unwrap();
    assert_eq!((answer.statuses(), &answer.body[..]), (vec!["200"], &b"hi"[..]));
    assert_eq!(answer.sections[1], [("x-end".to_owned(), "yes".to_owned())]);
    let mut control = raw.control().await;
    assert_eq!(control.next().await.unwrap().kind, frame::kind::SETTINGS);
}

#[tokio::test]
async fn a_violation_ends_the_connection_with_its_code() {
    let authority = Authority::new();
    let client = Client::new(&authority);
    let raw = client.connect_raw(serve(&authority), "localhost").await;
    raw.send_settings().await;
    // DATA before HEADERS: H3_FRAME_UNEXPECTED.
    let mut request = raw.request(&frame::frame(frame::kind::DATA, b"early"), true).await;
    assert_eq!(request.answer().await.unwrap_err(), End::Connection(Some(0x105)));
    assert_eq!(raw.closed().await, Some(0x105));
}

#[tokio::test]
async fn the_python_client_sends_uploads_side_by_side() {
    let Some(python) = program::require_python() else { return };
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["localhost"]));
    let url = format!("https://{}/", serve(&authority));
    let (script, ca) = (program::script("h3_client.py"), files.ca.to_str().unwrap().to_owned());
    let arguments = [script.to_str().unwrap(), &url, "--ca", &ca, "--upload", "100000", "--parallel", "3"];
    let mut client = Program::start(&python, &arguments);
    let status = client.exit(wait::BOUND).await;
    let digest = sha256(&b"u".repeat(100_000));
    let lines = client.rest().await;
    assert!(status.success(), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for part in ["\"status\": 200", "[[\"x-end\", \"yes\"]]", "\"length\": 100000", &digest] {
        assert!(lines.iter().all(|line| line.contains(part)), "{part} in {lines:?}");
    }
}
