//! A stream of HTTP/2 by the `h2` crate, on either side.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::sync::Notify;

use super::head::Head;
use crate::wait;

/// The sending direction.
pub(super) enum Sending {
    /// Of a server that has not sent the final response head.
    Response(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
}

/// The receiving direction.
pub(super) enum Receiving {
    /// Of a client that has not received the final response head.
    Response(ResponseFuture),
    Open(RecvStream),
}

pub(super) struct Http2Stream {
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    /// Ends the connection by RST. Only of servers.
    pub(super) kill: Option<Arc<Notify>>,
}

impl Http2Stream {
    /// Reads a response head, interim or final.
    pub(super) async fn head(&mut self) -> io::Result<Head> {
        let Receiving::Response(future) = &mut self.receiving else { panic!("the final head was read") };
        let read = poll_fn(|cx| {
            if let Poll::Ready(Some(interim)) = future.poll_informational(cx) {
                return Poll::Ready(interim.map(|head| (head, None)));
            }
            let response = std::task::ready!(Pin::new(&mut *future).poll(cx));
            Poll::Ready(
                response.map(Response::into_parts).map(|(head, body)| (Response::from_parts(head, ()), Some(body))),
            )
        });
        let (head, body) = wait::within("a response head", read).await.map_err(io::Error::other)?;
        if let Some(body) = body {
            self.receiving = Receiving::Open(body);
        }
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = head.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Head { status: head.status().as_u16(), fields })
    }

    /// Sends a response head, interim or final.
    pub(super) fn answer(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        let Sending::Response(respond) = &mut self.sending else { panic!("the final head was sent") };
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response = response.body(()).expect("a response");
        if status < 200 {
            return respond.send_informational(response).map_err(io::Error::other);
        }
        self.sending = Sending::Open(respond.send_response(response, false).map_err(io::Error::other)?);
        Ok(())
    }

    /// Sends bytes when the peer has given credit for all of them.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.open();
        let mut left = Bytes::copy_from_slice(bytes);
        while !left.is_empty() {
            stream.reserve_capacity(left.len());
            let granted = wait::within("credit", poll_fn(|cx| stream.poll_capacity(cx))).await;
            let granted = granted.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
            stream.send_data(left.split_to(granted.min(left.len())), false).map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.open().send_data(Bytes::new(), true).map_err(io::Error::other)
    }

    pub(super) async fn data(&mut self) -> io::Result<Option<Bytes>> {
        let Receiving::Open(stream) = &mut self.receiving else { panic!("read the head first") };
        loop {
            let data = wait::within("data of a stream", stream.data()).await.transpose().map_err(io::Error::other)?;
            let Some(data) = data else { return Ok(None) };
            stream.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
            // The end may come in a frame without data.
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Waits until the peer resets the stream or the connection ends.
    pub(super) async fn cut_off(&mut self) -> io::Error {
        let reason = match &mut self.sending {
            Sending::Response(respond) => wait::within("a reset", poll_fn(|cx| respond.poll_reset(cx))).await,
            Sending::Open(stream) => wait::within("a reset", poll_fn(|cx| stream.poll_reset(cx))).await,
        };
        io::Error::other(reason.map_or_else(|error| error, h2::Error::from))
    }

    pub(super) fn reset(mut self) {
        match &mut self.sending {
            Sending::Response(respond) => respond.send_reset(Reason::CANCEL),
            Sending::Open(stream) => stream.send_reset(Reason::CANCEL),
        }
    }

    fn open(&mut self) -> &mut SendStream<Bytes> {
        let Sending::Open(stream) = &mut self.sending else { panic!("the direction is not open") };
        stream
    }
}
