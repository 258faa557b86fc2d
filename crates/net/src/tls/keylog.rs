//! The key log: TLS secrets for a packet analyser, off unless the operator enables it.
//!
//! This file owns the switch and the log file. The command line sets the switch before any context is created.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use rustls::{KeyLog, KeyLogFile, NoKeyLog};

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Makes every context created from now on, on both sides of the proxy, append its secrets to the file that
/// `SSLKEYLOGFILE` names. A reader of that file can decrypt the traffic.
pub fn allow_key_log() {
    ALLOWED.store(true, Ordering::Relaxed);
}

/// Returns the key log for a new context.
pub(super) fn key_log() -> Arc<dyn KeyLog> {
    // Opened once and early, because a process that has dropped its privileges may not be able to.
    static FILE: LazyLock<Arc<KeyLogFile>> = LazyLock::new(|| Arc::new(KeyLogFile::new()));
    if ALLOWED.load(Ordering::Relaxed) { Arc::<KeyLogFile>::clone(&FILE) } else { Arc::new(NoKeyLog) }
}
