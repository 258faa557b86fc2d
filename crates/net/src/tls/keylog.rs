//! Whether the secrets of connections are written out for a packet analyser: never, unless the operator asks for it.
//!
//! Owns the switch and the file. Called by the makers of contexts; switched by the command line before anything starts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use rustls::{KeyLog, KeyLogFile, NoKeyLog};

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Lets every context that is made from now on append its secrets to the file that `SSLKEYLOGFILE` names, on both sides
/// of the proxy. Whoever has that file can read what was sent.
pub fn allow_key_log() {
    ALLOWED.store(true, Ordering::Relaxed);
}

/// Where a new context leaves its secrets.
pub(super) fn key_log() -> Arc<dyn KeyLog> {
    // Opened once and early: a process that has given up its privileges may not be able to.
    static FILE: LazyLock<Arc<KeyLogFile>> = LazyLock::new(|| Arc::new(KeyLogFile::new()));
    if ALLOWED.load(Ordering::Relaxed) { Arc::<KeyLogFile>::clone(&FILE) } else { Arc::new(NoKeyLog) }
}
