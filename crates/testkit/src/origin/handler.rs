//! The handler type, and constructors of handlers, responses and bodies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::body::Body;

/// The future of a response.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers the requests of an origin.
pub type Handler = Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;

/// Creates a handler from an asynchronous function.
pub fn handle<F, A>(function: F) -> Handler
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(function(request)))
}

/// Creates a handler that answers each request with the same status and body. It does not read the request body.
pub fn fixed(status: StatusCode, body: &'static str) -> Handler {
    handle(move |_| async move { text(status, body) })
}

/// Creates a response with a text body.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = status;
    response
}

/// Creates a body from bytes.
pub fn whole(body: Bytes) -> Body {
    boxed(Full::new(body))
}

/// Boxes a body.
pub fn boxed<B>(body: B) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<super::BoxError>,
{
    body.map_err(Into::into).boxed()
}
