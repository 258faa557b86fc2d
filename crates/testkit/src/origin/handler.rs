//! Handlers: from a request to an answer.
//!
//! Owns the handler type and the small constructors that most tests need. Called by tests and by the default site.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::body::Body;

/// The answer of a handler, to come.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What an origin does with a request.
pub type Handler = Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;

/// A handler from an asynchronous function.
pub fn handle<F, A>(function: F) -> Handler
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(function(request)))
}

/// The same status and body for every request; the request's body is not read.
pub fn fixed(status: StatusCode, body: &'static str) -> Handler {
    handle(move |_| async move { text(status, body) })
}

/// A plain-text answer.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = status;
    response
}

/// A body that is there at once.
pub fn whole(body: Bytes) -> Body {
    boxed(Full::new(body))
}

/// Any body as the body of an answer.
pub fn boxed<B>(body: B) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<super::BoxError>,
{
    body.map_err(Into::into).boxed()
}
