//! State shared by the connections of a scripted origin.

use std::sync::Arc;

use tokio::sync::watch;

use super::step::Step;
use crate::journal::{Entry, Journal};

/// Returns the steps that answer a request. The number counts the requests of the origin, from 1.
pub type Script = Arc<dyn Fn(&Entry, usize) -> Vec<Step> + Send + Sync>;

/// What the origin does when a client sends the HTTP/2 preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPreface {
    /// Answers 400 and closes, as most servers do.
    Refuse,
    /// Closes without a byte.
    Close,
    /// Reads and never answers.
    Ignore,
}

/// Received bytes of each connection, in the order of acceptance.
pub(super) type Received = Arc<watch::Sender<Vec<Vec<u8>>>>;

/// State shared by the connections of an origin.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) script: Script,
    pub(super) on_preface: OnPreface,
    pub(super) journal: Journal,
    pub(super) received: Received,
    pub(super) gate: Arc<watch::Sender<usize>>,
}
