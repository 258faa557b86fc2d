//! Why an exchange ended without a complete response of a backend, with one table of everything that follows from it.
//!
//! [`Reason`] is an answer made by Spooky (docs/reference/behaviour.md#status-codes); [`Reset`] is an exchange that ends without
//! one. To add a reason, add its line in `table`.

mod reset;
mod table;

pub use reset::Reset;
pub use table::{Reason, Row};

/// Cause. Only [`Fault::Backend`] may change health, circuit or adaptive limit (docs/reference/behaviour.md#guarantees).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client broke a rule or went away.
    Client,
    /// The operator's policy or configuration refuses it.
    Operator,
    /// Spooky has no capacity left, or failed itself.
    Proxy,
    /// A backend failed.
    Backend,
}

/// For which methods the same request may be sent again (docs/reference/behaviour.md#retries).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No method: it would fail again, or a repetition could do harm.
    Never,
    /// Only idempotent methods: the backend may have acted on it.
    Idempotent,
    /// Any method: the backend has not seen it.
    AnyMethod,
}

/// Kind of error in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A deadline passed.
    Timeout,
    /// TLS to the backend failed.
    Tls,
    /// DNS, connect, reset or connection loss of the backend.
    Transport,
    /// No backend is available.
    Pool,
    /// The backend violated the protocol.
    Protocol,
    /// The proxy failed itself.
    Bridge,
    /// The client caused it.
    Client,
    /// A limit was reached.
    Overload,
    /// A policy forbids it.
    Policy,
}

impl ErrorKind {
    /// Value of `error=` in the access line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Transport => "transport",
            Self::Pool => "pool",
            Self::Protocol => "protocol",
            Self::Bridge => "bridge",
            Self::Client => "client",
            Self::Overload => "overload",
            Self::Policy => "policy",
        }
    }
}

/// Level of a reason's own log line; the access line is always written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of interest only for debugging.
    Debug,
    /// An operator may have to act.
    Warn,
    /// Something is broken, and the proxy cannot work around it.
    Error,
}

#[cfg(test)]
mod tests;
