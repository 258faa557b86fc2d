//! Why a stream is reset, in no protocol's codes.

/// Why one side ends a request and its response early. Each protocol has its own codes for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The rest is not needed: no error.
    NoError,
    /// The request is given up.
    Cancelled,
    /// The sender has failed.
    Internal,
    /// The receiver broke the protocol.
    Protocol,
    /// The receiver asks for too much.
    ExcessiveLoad,
    /// The request must be made over HTTP/1.1.
    VersionFallback,
    /// The request was refused before anything was done with it.
    Refused,
    /// None of these.
    Other,
}
