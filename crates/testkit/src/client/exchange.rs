//! A request and its response, with separate control of each direction.

use bytes::{Buf, Bytes, BytesMut};
use h3::client::RequestStream;
use h3::error::{Code, ConnectionError, StreamError};
use h3::quic::ConnectionErrorIncoming;
use h3_quinn::{BidiStream, RecvStream, SendStream};
use http::{HeaderMap, Response};

use super::reply::Reply;
use crate::pattern::{Pattern, Sum};
use crate::wait;

/// Why an exchange failed, as seen by the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The peer reset or stopped the stream with this code.
    Stream(u64),
    /// The peer closed the connection with this code.
    Connection(u64),
    /// The peer sent GOAWAY.
    GoingAway,
    /// Any other error: a protocol error of the peer, a lost connection.
    Other(String),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::RemoteTerminate { code, .. } => Self::Stream(code.value()),
            StreamError::ConnectionError {
                0: ConnectionError::Remote { 0: ConnectionErrorIncoming::ApplicationClose { error_code }, .. },
                ..
            } => Self::Connection(error_code),
            StreamError::RemoteClosing { .. } => Self::GoingAway,
            other => Self::Other(other.to_string()),
        }
    }
}

/// A request in progress.
pub struct Exchange {
    /// The request direction.
    pub sending: Sending,
    /// The response direction.
    pub reading: Reading,
}

/// Sends the request.
pub struct Sending(RequestStream<SendStream<Bytes>, Bytes>);

/// Receives the response. Flow-control credit is returned only for data that is read.
pub struct Reading(RequestStream<RecvStream, Bytes>);

impl Exchange {
    pub(super) fn new(stream: RequestStream<BidiStream<Bytes>, Bytes>) -> Self {
        let (sending, reading) = stream.split();
        Self { sending: Sending(sending), reading: Reading(reading) }
    }

    /// Returns both directions, for concurrent use.
    pub fn split(self) -> (Sending, Reading) {
        (self.sending, self.reading)
    }

    /// Cancels the exchange: sends `RESET_STREAM` with `H3_REQUEST_CANCELLED`, and `STOP_SENDING`.
    pub fn cancel(mut self) {
        self.sending.reset(Code::H3_REQUEST_CANCELLED.value());
        self.reading.stop();
    }
}

impl Sending {
    /// Sends a part of the body. Waits for flow-control credit.
    pub async fn data(&mut self, piece: impl Into<Bytes>) -> Result<(), Failure> {
        Ok(wait::within("credit to send request data", self.0.send_data(piece.into())).await?)
    }

    /// Sends a whole pattern.
    pub async fn pattern(&mut self, pattern: Pattern) -> Result<(), Failure> {
        for piece in pattern {
            self.data(piece).await?;
        }
        Ok(())
    }

    /// Sends trailers. The caller must still call [`Sending::finish`].
    pub async fn trailers(&mut self, trailers: HeaderMap) -> Result<(), Failure> {
        Ok(wait::within("credit to send trailers", self.0.send_trailers(trailers)).await?)
    }

    /// Ends the request.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        Ok(wait::within("the end of the request to leave", self.0.finish()).await?)
    }

    /// Resets the request with an HTTP/3 error code.
    pub fn reset(&mut self, code: u64) {
        self.0.stop_stream(Code::from(code));
    }
}

impl Reading {
    /// Waits for the response head.
    pub async fn head(&mut self) -> Result<Response<()>, Failure> {
        Ok(wait::within("the head of the answer", self.0.recv_response()).await?)
    }

    /// Waits for the next part of the body. Returns `None` at its end.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = wait::within("response data", self.0.recv_data()).await?;
        Ok(piece.map(|mut piece| piece.copy_to_bytes(piece.remaining())))
    }

    /// Reads the rest of the body and returns its length and digest.
    pub async fn sum(&mut self) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        while let Some(piece) = self.data().await? {
            sum.add(&piece);
        }
        Ok(sum)
    }

    /// Waits for the trailers after the end of the body.
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>, Failure> {
        Ok(wait::within("trailers or the end", self.0.recv_trailers()).await?)
    }

    /// Reads the whole response.
    pub async fn reply(&mut self) -> Result<Reply, Failure> {
        let head = self.head().await?;
        let mut body = BytesMut::new();
        while let Some(piece) = self.data().await? {
            body.extend_from_slice(&piece);
        }
        let trailers = self.trailers().await?;
        let (parts, ()) = head.into_parts();
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.freeze(), trailers })
    }

    /// Sends `STOP_SENDING` with code 0, as quinn does for a dropped stream. The raw client can send other codes.
    pub fn stop(self) {
        drop(self);
    }
}
