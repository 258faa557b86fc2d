//! `load_balancing`: how one of the backends is chosen.

use std::time::Duration;

use crate::spec::Scope;
use crate::spec::block::block;
use crate::spec::text::{Text, text};
use crate::spec::words::words;
use crate::value::http::HashKey;

const TYPE: Text = text("Invalid load balancing type: '<t>' for upstream '<u>'").hint(TYPES);
const GLOBAL_TYPE: Text = text("Invalid global load balancing type: <t>").hint(TYPES);
const TYPES: &str = "use round-robin, random, consistent-hash, least-connections, latency-aware or sticky-cid";
const KEY: Text = text("Invalid load balancing key: '<k>' for upstream '<u>'").hint(SOURCES);
const SOURCES: &str = "use header:<name>, cookie:<name>, query:<name>, path, authority, method, cid or client-ip";
const LOAD_FACTOR: Text =
    text("Invalid load balancing load_factor: <n> for upstream '<u>'").hint("use 0 (unbounded), or 1 and above");
const PANIC: Text = text("Invalid load balancing panic_threshold_percent: <n> for upstream '<u>'");
const KEY_UNUSED: Text = text("load_balancing.key has no effect with <type> in upstream '<u>'").warning();

words! {
    /// How one of the usable backends is chosen.
    pub enum Algorithm {
        /// In turn, by weight.
        RoundRobin = ["round-robin", "round_robin", "rr"],
        /// By chance, by weight.
        Random = ["random"],
        /// The same key to the same backend.
        ConsistentHash = ["consistent-hash", "consistent_hash", "ch"],
        /// The fewest requests per weight.
        LeastConnections = ["least-connections", "least_connections", "lc"],
        /// The lowest expected time.
        LatencyAware = ["latency-aware", "latency_aware", "la"],
        /// One backend for each client connection.
        StickyCid = ["sticky-cid", "sticky_cid", "cid-sticky", "cid_sticky"],
    }
}

block! {
    /// How a usable backend is selected. A block in an upstream replaces the global one as a whole.
    pub struct LoadBalancing whole {
        /// The algorithm.
        algorithm as "type": Algorithm = Algorithm::RoundRobin, required(), otherwise_outside(TYPE, GLOBAL_TYPE);
        /// What `consistent-hash` hashes: `header:<name>`, `cookie:<name>`, `query:<name>`, `path`, `authority`, `method`,
        /// `cid` or `client-ip`.
        key: HashKey = HashKey::ClientIp, otherwise(KEY), says(KEY_UNUSED);
        /// `consistent-hash` only: bound on a backend's load relative to the average; 0 = unbounded, else at least 1.
        load_factor: f64 = 1.25, fraction(|factor| factor == 0.0 || (factor >= 1.0 && factor.is_finite()), LOAD_FACTOR);
        /// How long a recovered backend takes to its full weight; 0 = off.
        slow_start_ms: Duration = Duration::from_secs(10);
        /// Below this share of healthy backends health is ignored; 0 = off.
        panic_threshold_percent: u8 = 0, range(0, 100, PANIC);
    }
    settle |block: &mut LoadBalancing, scope: &mut Scope<'_, '_>| {
        if scope.reader.upstream.is_some() {
            block.check_key(scope, "", &[]);
        }
    }
}

impl LoadBalancing {
    /// Warns of a key that the algorithm does not hash. `block` is the path to this block below the scope, with a dot.
    pub(crate) fn check_key(&self, scope: &mut Scope<'_, '_>, block: &str, arguments: &[(&str, &str)]) {
        let key = format!("{block}key");
        let used = self.algorithm == Algorithm::ConsistentHash
            || !scope.written(&key)
            || scope.any_failed(&format!("{block}type"));
        let arguments = [arguments, &[("type", self.algorithm.as_str())][..]].concat();
        scope.require(used, &[&key], KEY_UNUSED, &arguments);
    }
}
