//! Counts what became of the requests, and decides what was permitted.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long before and after a kill a request may fail because of it.
const AROUND_KILL: Duration = Duration::from_millis(1500);
/// Violations that are printed.
const SHOWN: usize = 20;
/// Growth of memory that is permitted from the second quarter of the run to the last, in percent.
const GROWTH_PERCENT: u64 = 25;

/// Why a request has failed.
pub(crate) struct Broken {
    pub(crate) text: String,
    /// A response head had arrived.
    pub(crate) has_head: bool,
}

#[derive(Default)]
pub(crate) struct Ledger {
    served: [AtomicU64; 3],
    /// Requests that were sent again, because the connection ended before they were processed.
    repeated: AtomicU64,
    /// Failures that a kill explains.
    excused: AtomicU64,
    kills: Mutex<Vec<Instant>>,
    violations: Mutex<Vec<String>>,
}

impl Ledger {
    pub(crate) fn on_served(&self, protocol: usize) {
        if let Some(served) = self.served.get(protocol) {
            served.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn on_repeated(&self) {
        self.repeated.fetch_add(1, Relaxed);
    }

    pub(crate) fn on_kill(&self) {
        self.kills.lock().expect("no panic").push(Instant::now());
    }

    pub(crate) fn on_violation(&self, text: String) {
        eprintln!("violation: {text}");
        self.violations.lock().expect("no panic").push(text);
    }

    /// Judges a failure. A request that was in flight on a killed backend may fail if its response had begun, or if its method
    /// must not be repeated.
    pub(crate) fn on_failed(&self, what: &str, is_post: bool, began: Instant, broken: &Broken) {
        let kills = self.kills.lock().expect("no panic");
        let is_near = kills.iter().rev().take(3).any(|kill| *kill + AROUND_KILL > began && *kill < Instant::now());
        drop(kills);
        if is_near && (is_post || broken.has_head) {
            self.excused.fetch_add(1, Relaxed);
        } else {
            self.on_violation(format!("{what}: {}", broken.text));
        }
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.iter().map(|served| served.load(Relaxed)).sum()
    }

    pub(crate) fn excused(&self) -> u64 {
        self.excused.load(Relaxed)
    }

    /// Prints the result. Returns the number of violations.
    pub(crate) fn report(&self, minutes: u64, memory: &[u64]) -> usize {
        let [h3, h2, h1] = self.served.each_ref().map(|served| served.load(Relaxed));
        let (repeated, excused) = (self.repeated.load(Relaxed), self.excused());
        println!("{minutes} minutes: {} requests ({h3} HTTP/3, {h2} HTTP/2, {h1} HTTP/1.1)", self.served());
        println!("{repeated} repeated on another connection, {excused} failed with a killed backend");
        if let Some((early, late)) = quarters(memory)
            && late > early + early * GROWTH_PERCENT / 100
        {
            self.on_violation(format!("memory has grown from {early} KiB to {late} KiB"));
        }
        let violations = self.violations.lock().expect("no panic");
        println!("{} violations", violations.len());
        violations.iter().take(SHOWN).for_each(|text| println!("  {text}"));
        violations.len()
    }
}

/// Returns the largest values of the second and of the last quarter.
fn quarters(memory: &[u64]) -> Option<(u64, u64)> {
    let quarter = memory.len() / 4;
    let most = |part: &[u64]| part.iter().copied().max();
    Some((most(memory.get(quarter..2 * quarter)?)?, most(memory.get(3 * quarter..)?)?))
}
