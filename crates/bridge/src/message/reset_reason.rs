//! Protocol-neutral reasons to reset a stream.

/// Why one side ends a request and its response early. Each protocol maps these to its own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The rest is not needed; not an error.
    NoError,
    /// The request is cancelled.
    Cancelled,
    /// The sender has an internal error.
    Internal,
    /// The receiver violated the protocol.
    Protocol,
    /// The receiver causes excessive load.
    ExcessiveLoad,
    /// The request must be made over HTTP/1.1.
    VersionFallback,
    /// The request was not processed at all.
    Refused,
    /// Any other reason.
    Other,
}
