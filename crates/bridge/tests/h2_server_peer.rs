//! The HTTP/2 server against the client of the `h2` crate, over a pipe in memory.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is how a test fails")]

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request};
use spooky_bridge::{
    h2::{Server, ServerConfig, ServerEvent, StreamId},
    message::{Fields, Known, Name, ResponseHead},
};
use std::{collections::HashMap, future::Future, io::IoSlice, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// Larger than the unread bytes of either side, so that no write blocks.
const PIPE: usize = 8 * 1024 * 1024;

/// Runs a test with a time limit.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let test = async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("done in time") };
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// An answer that is not sent completely.
#[derive(Default)]
struct Answer {
    data: BytesMut,
    end: bool,
    trailers: Option<Fields>,
    received: usize,
}

/// Serves one connection, with a response by path, until the client closes it.
struct Driver {
    server: Server,
    input: BytesMut,
    pipe: DuplexStream,
    answers: HashMap<StreamId, Answer>,
}

impl Driver {
    async fn serve(mut self) {
        loop {
            while let Some(event) = self.server.recv(&mut self.input, Duration::ZERO).expect("a sound client") {
                self.take(event);
            }
            if !self.server.output().is_empty() {
                let output = self.server.output();
                let mut slices = [IoSlice::new(&[]); 8];
                let set = output.slices(&mut slices);
                let written = self.pipe.write_vectored(&slices[..set]).await.expect("the pipe is open");
                output.advance(written);
            } else if self.server.is_drained() || self.pipe.read_buf(&mut self.input).await.expect("a pipe") == 0 {
                return;
            }
        }
    }

    fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Request { id, head, end } => {
                self.server.set_tag(id, 7);
                self.answers.insert(id, Answer::default());
                let mut response = ResponseHead::new(200);
                match head.path() {
                    b"/echo" => {
                        self.server.send_interim(id, &ResponseHead::new(103));
                        self.server.send_head(id, &response, false);
                    }
                    b"/early" => {
                        response.status = 413;
                        self.server.send_head(id, &response, false);
                        self.server.send_data(id, &mut Bytes::from_static(b"too large"), true);
                    }
                    b"/leave" => {
                        self.server.shut_down_step();
                        self.server.shut_down_step();
                        self.server.send_head(id, &response, true);
                    }
                    path => {
                        response.fields.push(Known::ContentLength, path.len().to_string().as_bytes());
                        self.server.send_head(id, &response, false);
                        self.server.send_data(id, &mut Bytes::copy_from_slice(path), true);
                    }
                }
                if end {
                    self.end(id);
                }
            }
            ServerEvent::Refused { id, refusal, .. } => {
                let mut response = ResponseHead::new(431);
                response.fields.push(Name::Other(b"x-reason"), refusal.to_string().as_bytes());
                self.server.send_head(id, &response, true);
            }
            ServerEvent::Data { tag, id, data, end } => {
                assert_eq!(tag, 7);
                let answer = self.answers.get_mut(&id).expect("a request");
                answer.received += data.len();
                answer.data.extend_from_slice(&data);
                self.server.release(id, data.len());
                if end {
                    self.end(id);
                }
                self.send(id);
            }
            ServerEvent::Trailers { id, fields, .. } => {
                let answer = self.answers.get_mut(&id).expect("a request");
                answer.trailers = Some(fields);
                self.end(id);
                self.send(id);
            }
            ServerEvent::Sendable { id, .. } => self.send(id),
            ServerEvent::Reset { .. } | ServerEvent::Pong(_) | ServerEvent::GoAway { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, id: StreamId) {
        let answer = self.answers.get_mut(&id).expect("a request");
        answer.end = true;
        let mut trailers = answer.trailers.take().unwrap_or_default();
        trailers.push(Name::Other(b"x-length"), answer.received.to_string().as_bytes());
        answer.trailers = Some(trailers);
        self.send(id);
    }

    fn send(&mut self, id: StreamId) {
        let answer = self.answers.get_mut(&id).expect("a request");
        let mut data = answer.data.split().freeze();
        self.server.send_data(id, &mut data, false);
        answer.data.extend_from_slice(&data);
        if answer.end
            && answer.data.is_empty()
            && let Some(trailers) = answer.trailers.take()
        {
            self.server.send_trailers(id, &trailers);
        }
    }
}

/// Starts a server and returns a client of it.
async fn connect(config: &ServerConfig, builder: &h2::client::Builder) -> h2::client::SendRequest<Bytes> {
    let (pipe, far) = tokio::io::duplex(PIPE);
    let server = Server::new(config);
    tokio::task::spawn_local(Driver { server, input: BytesMut::new(), pipe, answers: HashMap::new() }.serve());
    let (client, connection) = builder.handshake(far).await.expect("a handshake");
    tokio::task::spawn_local(async move {
        connection.await.expect("a sound server");
    });
    client
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://a.example{path}")).body(()).expect("a request")
}

async fn body(mut body: h2::RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("a whole response");
        body.flow_control().release_capacity(data.len()).expect("what came");
        bytes.extend_from_slice(&data);
    }
    (bytes, body.trailers().await.expect("a whole response"))
}

/// Sends a body as the window permits, then trailers for odd numbers, and checks the echo.
async fn echo(mut client: h2::client::SendRequest<Bytes>, number: usize) {
    client = client.ready().await.expect("open");
    let (response, mut upload) = client.send_request(request(Method::POST, "/echo"), false).expect("open");
    let sent: Bytes = (0..(number * 7919) % 60_000).map(|at| (at * 31 + number) as u8).collect();
    let mut rest = sent.clone();
    let task = tokio::task::spawn_local(async move {
        while rest.has_remaining() {
            upload.reserve_capacity(rest.len());
            let room =
                std::future::poll_fn(|context| upload.poll_capacity(context)).await.expect("open").expect("open");
            upload.send_data(rest.split_to(room.min(rest.len())), false).expect("open");
        }
        if number % 2 == 1 {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sent", HeaderValue::from(number));
            upload.send_trailers(trailers).expect("open");
        } else {
            upload.send_data(Bytes::new(), true).expect("open");
        }
    });
    let response = response.await.expect("a response");
    assert_eq!(response.status(), 200);
    let (received, trailers) = body(response.into_body()).await;
    task.await.expect("an upload");
    assert_eq!(received, sent);
    let trailers = trailers.expect("trailers");
    assert_eq!(trailers["x-length"].to_str().ok(), Some(&*sent.len().to_string()));
    assert_eq!(trailers.contains_key("x-sent"), number % 2 == 1);
}

#[test]
fn many_echoes_at_once_through_small_windows() {
    block_on(async {
        let config = ServerConfig { initial_stream_window: 3000, max_streams: 30, ..ServerConfig::default() };
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(2000).header_table_size(100);
        let client = connect(&config, &builder).await;
        let tasks: Vec<_> = (0..200).map(|number| tokio::task::spawn_local(echo(client.clone(), number))).collect();
        for task in tasks {
            task.await.expect("an echo");
        }
    });
}

#[test]
fn answers_of_every_kind() {
    block_on(async {
        let mut client = connect(&ServerConfig::default(), &h2::client::Builder::new()).await;
        for (method, expected) in [(Method::GET, "/path"), (Method::HEAD, "")] {
            let (response, _) = client.send_request(request(method, "/path"), true).expect("open");
            let response = response.await.expect("a response");
            assert_eq!(response.headers()["content-length"], "5");
            assert_eq!(body(response.into_body()).await.0, expected.as_bytes());
        }
        let mut large = request(Method::GET, "/path");
        large.headers_mut().insert("x-large", "v".repeat(30_000).parse().expect("a value"));
        let (response, _) = client.send_request(large, true).expect("open");
        let response = response.await.expect("a response");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-reason"].to_str().expect("text")[..7]),
            (431, "request")
        );
        let mut huge = request(Method::GET, "/path");
        huge.headers_mut().insert("x-large", "v".repeat(300_000).parse().expect("a value"));
        let (response, _) = client.send_request(huge, true).expect("open");
        assert_eq!(response.await.expect_err("a reset").reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
        let (response, _) = client.send_request(request(Method::GET, "/path"), true).expect("open");
        assert_eq!(response.await.expect("a response").status(), 200, "the connection goes on");
    });
}

#[test]
fn an_early_response_arrives_and_the_rest_of_the_upload_is_dropped() {
    block_on(async {
        let mut client = connect(&ServerConfig::default(), &h2::client::Builder::new()).await;
        let (response, mut send) = client.send_request(request(Method::POST, "/early"), false).expect("open");
        let response = response.await.expect("a response");
        assert_eq!(response.status(), 413);
        assert_eq!(body(response.into_body()).await.0, b"too large");
        send.send_data(Bytes::from_static(b"unwanted"), true).expect("an upload that is not stopped yet");
        let (again, _) = client.send_request(request(Method::POST, "/early"), false).expect("open");
        assert_eq!(again.await.expect("a response").status(), 413, "the connection goes on");
    });
}

#[test]
fn a_shutdown_answers_what_was_accepted() {
    block_on(async {
        let mut client = connect(&ServerConfig::default(), &h2::client::Builder::new()).await;
        let (first, mut send) = client.send_request(request(Method::POST, "/echo"), false).expect("open");
        let (leave, _) = client.send_request(request(Method::GET, "/leave"), true).expect("open");
        assert_eq!(leave.await.expect("a response").status(), 200);
        send.send_data(Bytes::from_static(b"still served"), true).expect("open");
        assert_eq!(body(first.await.expect("a response").into_body()).await.0, b"still served");
        assert!(client.ready().await.is_err(), "no more requests");
    });
}
