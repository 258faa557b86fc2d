//! The properties of a request that decide about its attempts.

/// A request, as far as its attempts depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// Whether a body may follow.
    pub has_body: bool,
    /// Hash of the key for keyed algorithms, else 0.
    pub key: u64,
}
