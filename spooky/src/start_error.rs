//! Why the process cannot start, or a configuration cannot be put into effect: the text for the operator.

use std::fmt;

/// The text, with its hint on a line of its own.
#[derive(Debug)]
pub(crate) struct StartError(pub(crate) String);

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
