//! Maps host, path prefix and method of a request to an upstream (docs/reference/behaviour.md#routing).
//!
//! The [`Table`] is built once per configuration. A lookup allocates nothing, and its cost depends on the length of the path
//! and not on the number of routes. The configuration loader validates matchers; equal matchers are ordered by the name of
//! the upstream, so that a lookup is always deterministic.

mod denied;
mod host;
mod index;
mod path;
mod table;

pub use denied::{DeniedPrefixes, PathDepths};
pub use host::HostPattern;
pub use path::{is_under, matching_form};
pub use table::Table;

/// One route as configured.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Index of the upstream in the snapshot.
    pub upstream: usize,
    /// Name of the upstream; orders equal matchers.
    pub name: String,
    /// Hosts it matches; `None` for any.
    pub host: Option<HostPattern>,
    /// Path prefix, beginning with `/`; `/` for any path.
    pub path_prefix: String,
    /// Method it matches, case-sensitive; `None` for any.
    pub method: Option<String>,
}

/// Result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index of the upstream, from [`Rule::upstream`].
    pub upstream: usize,
    /// Length of the matched prefix in its matching form.
    pub prefix_len: usize,
    /// Whether the rule names a host.
    pub host_specific: bool,
    /// Which step of the order of precedence decided.
    pub reason: Reason,
}

/// The step that decided (log, `x-spooky-route-decision`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No other rule matches the request.
    Only,
    /// Its prefix is longer than those of all others.
    Path,
    /// It names the host exactly.
    ExactHost,
    /// It matches the host by the longest wildcard.
    WildcardHost,
    /// It names the method.
    Method,
    /// Its upstream's name is the smallest.
    Name,
}

impl Reason {
    /// The name in logs and in the response field.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Only => "only",
            Self::Path => "path",
            Self::ExactHost => "exact_host",
            Self::WildcardHost => "wildcard_host",
            Self::Method => "method",
            Self::Name => "name",
        }
    }
}

#[cfg(test)]
mod tests;
