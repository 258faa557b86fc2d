//! A worker with only a transport: polls it as the product does and records the events of each request.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use spooky_bridge::message::{self, Fields, Known, Method, Name, RequestHead, ResetReason};
use spooky_transport::{
    BackendId, BackendSpec, Event, Failure, NameTable, Options, Protocol, RequestHandle, Scheme, Transport, Unsent,
};

/// Bound of every wait.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) sent_late: bool,
    pub(crate) status: u16,
    /// HTTP version of the connection.
    pub(crate) version: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) unreleased: usize,
    pub(crate) trailers: bool,
    pub(crate) complete: bool,
    pub(crate) sendable: usize,
    pub(crate) failure: Option<Failure>,
}

impl Answer {
    pub(crate) fn is_over(&self) -> bool {
        self.complete || self.failure.is_some()
    }
}

pub(crate) struct Worker {
    pub(crate) transport: Transport,
    pub(crate) answers: HashMap<u64, Answer>,
    pub(crate) handles: HashMap<u64, RequestHandle>,
    pub(crate) uploads: HashMap<u64, Bytes>,
    pub(crate) downs: Vec<(BackendId, String)>,
    pub(crate) ups: Vec<BackendId>,
    /// Tags of the requests that have ended, in order.
    pub(crate) over: Vec<u64>,
    /// Whether credit is returned as body bytes arrive.
    pub(crate) release: bool,
    /// Time skipped by [`Worker::skip`].
    skew: Duration,
}

impl Worker {
    pub(crate) fn new(options: Options) -> Self {
        Self::with_names(options, Arc::default())
    }

    pub(crate) fn with_names(options: Options, names: Arc<NameTable>) -> Self {
        Self {
            transport: Transport::new(options, names, Instant::now()),
            answers: HashMap::new(),
            handles: HashMap::new(),
            uploads: HashMap::new(),
            downs: Vec::new(),
            ups: Vec::new(),
            over: Vec::new(),
            release: true,
            skew: Duration::ZERO,
        }
    }

    /// Real time plus the skipped time.
    pub(crate) fn now(&self) -> Instant {
        Instant::now() + self.skew
    }

    /// Advances the worker's clock.
    pub(crate) fn skip(&mut self, time: Duration) {
        self.skew += time;
    }

    pub(crate) fn backend(&mut self, addr: SocketAddr) -> BackendId {
        self.transport.add_backend(&spec(addr))
    }

    pub(crate) fn get(&mut self, backend: BackendId, path: &str, tag: u64) {
        self.try_request(backend, &head("GET", path, None), true, tag).unwrap();
    }

    /// Starts a request whose body is sent as fast as it is taken.
    pub(crate) fn post(&mut self, backend: BackendId, path: &str, tag: u64, body: Bytes) {
        self.try_request(backend, &head("POST", path, Some(body.len())), false, tag).unwrap();
        self.uploads.insert(tag, body);
        self.upload(tag);
    }

    pub(crate) fn try_request(
        &mut self,
        backend: BackendId,
        head: &RequestHead,
        end: bool,
        tag: u64,
    ) -> Result<RequestHandle, Unsent> {
        let now = self.now();
        let handle = self.transport.request(backend, head, end, tag, now)?;
        self.answers.insert(tag, Answer::default());
        self.handles.insert(tag, handle);
        Ok(handle)
    }

    /// Resets a request. Any later event of it fails the test.
    pub(crate) fn cancel(&mut self, tag: u64) {
        self.transport.reset(self.handles[&tag], ResetReason::Cancelled);
        self.uploads.remove(&tag);
        self.answer(tag).complete = true;
    }

    /// Polls the transport until `done` returns true. Only events and deadlines wake it, so a lost wake-up fails the test.
    pub(crate) async fn until(&mut self, what: &str, done: impl FnMut(&mut Self) -> bool) {
        self.drive(what, std::future::pending::<()>(), done).await;
    }

    /// Polls the transport until another future has completed.
    pub(crate) async fn during<T>(&mut self, what: &str, other: impl Future<Output = T>) -> T {
        self.drive(what, other, |_| false).await.unwrap()
    }

    async fn drive<T>(
        &mut self,
        what: &str,
        other: impl Future<Output = T>,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Option<T> {
        let mut other = pin!(other);
        let driving = async {
            loop {
                let deadline = self.transport.next_deadline();
                let wait = deadline.map_or(PATIENCE * 2, |at| at.saturating_duration_since(self.now()));
                let mut timer = pin!(tokio::time::sleep(wait));
                let finished = poll_fn(|cx| {
                    if self.turn(cx, &mut done) {
                        return Poll::Ready(Some(None));
                    }
                    if let Poll::Ready(value) = other.as_mut().poll(cx) {
                        return Poll::Ready(Some(Some(value)));
                    }
                    // The deadline may have become earlier in this turn.
                    if self.transport.next_deadline() != deadline || timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    Poll::Pending
                })
                .await;
                if let Some(finished) = finished {
                    return finished;
                }
            }
        };
        tokio::time::timeout(PATIENCE, driving).await.unwrap_or_else(|_| panic!("timed out waiting for {what}"))
    }

    /// Polls the transport until all these requests have ended.
    pub(crate) async fn finish(&mut self, tags: impl IntoIterator<Item = u64>) {
        let tags: Vec<_> = tags.into_iter().collect();
        self.until("the end of requests", move |worker| tags.iter().all(|tag| worker.answers[tag].is_over())).await;
    }

    /// Runs one turn, with `act` in place of the exchange, and then lets the runtime poll the sockets.
    pub(crate) async fn turn_once(&mut self, mut act: impl FnMut(&mut Self)) {
        poll_fn(|cx| {
            self.turn(cx, &mut |worker| {
                act(worker);
                true
            });
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }

    fn turn(&mut self, cx: &mut Context<'_>, act: &mut dyn FnMut(&mut Self) -> bool) -> bool {
        let now = self.now();
        self.transport.on_time(now);
        self.transport.poll_io(cx, now);
        while let Some(event) = self.transport.next_event() {
            self.handle(event);
        }
        let done = act(self);
        self.transport.flush(cx);
        done
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Sent { tag, .. } => {
                self.answer(tag).sent_late = true;
                self.upload(tag);
            }
            Event::Informational { tag, .. } => assert!(!self.answer(tag).is_over()),
            Event::Head { tag, protocol, head, end } => {
                let answer = self.answer(tag);
                assert_eq!(answer.status, 0, "two heads");
                answer.version = if protocol == message::Protocol::Http2 { "2.0" } else { "1.1" };
                answer.status = head.status;
                self.end(tag, end);
            }
            Event::Data { tag, data, end } => {
                let (release, handle) = (self.release, self.handles[&tag]);
                let answer = self.answer(tag);
                answer.body.extend_from_slice(&data);
                answer.unreleased += data.len();
                if release {
                    answer.unreleased = 0;
                    self.transport.release(handle, data.len());
                }
                self.end(tag, end);
            }
            Event::Trailers { tag, .. } => {
                self.answer(tag).trailers = true;
                self.end(tag, true);
            }
            Event::Sendable { tag } => {
                self.answer(tag).sendable += 1;
                self.upload(tag);
            }
            Event::Failed { tag, failure } => {
                self.answer(tag).failure = Some(failure);
                self.over.push(tag);
            }
            Event::BackendDown { backend, reason } => self.downs.push((backend, reason.to_string())),
            Event::BackendUp { backend } => self.ups.push(backend),
        }
    }

    fn answer(&mut self, tag: u64) -> &mut Answer {
        let answer = self.answers.get_mut(&tag).unwrap();
        assert!(!answer.is_over(), "an event after the end of {tag}");
        answer
    }

    fn end(&mut self, tag: u64, end: bool) {
        if end {
            self.answer(tag).complete = true;
            self.over.push(tag);
        }
    }

    fn upload(&mut self, tag: u64) {
        if let Some(data) = self.uploads.get_mut(&tag) {
            self.transport.send_data(self.handles[&tag], data, true);
            if data.is_empty() && !self.transport.is_waiting(self.handles[&tag]) {
                self.uploads.remove(&tag);
            }
        }
    }
}

pub(crate) fn spec(addr: SocketAddr) -> BackendSpec {
    BackendSpec {
        host: addr.ip().to_string(),
        port: addr.port(),
        scheme: Scheme::Http,
        protocol: Protocol::H2,
        idle: Arc::default(),
        connect_timeout: Duration::from_secs(5),
    }
}

pub(crate) fn head(method: &str, path: &str, content_length: Option<usize>) -> RequestHead {
    let mut fields = Fields::new();
    fields.push(Known::Method, method.as_bytes());
    fields.push(Known::Scheme, b"http");
    fields.push(Known::Authority, b"origin.test");
    fields.push(Known::Path, path.as_bytes());
    fields.push(Name::from_bytes(b"x-test"), b"transport");
    if let Some(length) = content_length {
        fields.push(Known::ContentLength, length.to_string().as_bytes());
    }
    let content_length = content_length.map(|length| length as u64);
    RequestHead { fields, method: Method::from_bytes(method.as_bytes()), content_length }
}
