//! Why a part of the sandbox is missing.

use std::fmt;

/// Why a part of the sandbox is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxError(String);

impl SandboxError {
    pub(super) fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SandboxError {}
