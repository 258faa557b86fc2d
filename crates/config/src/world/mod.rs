//! Checks of what the file points to: certificates and keys, authorities, accounts, ports. Run by `check` and at start.

pub(crate) mod texts;
