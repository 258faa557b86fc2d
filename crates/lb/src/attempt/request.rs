//! What an attempt is told of the request that it is for. Plain data, made by the exchange.

/// What the machine must know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, as sent.
    pub method: &'a [u8],
    /// Whether a body follows or may follow.
    pub has_body: bool,
    /// Hash of the balancing key; 0 where the algorithm has none.
    pub key: u64,
}
