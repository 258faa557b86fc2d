//! `load_balancing`: how a backend is selected.

use std::time::Duration;

use crate::spec::Mapping;
use crate::spec::block::block;
use crate::spec::keywords::keywords;
use crate::spec::text::{Text, text};
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

keywords! {
    /// Algorithm that selects a usable backend.
    pub enum Algorithm {
        /// Weighted round robin.
        RoundRobin = ["round-robin", "round_robin", "rr"],
        /// Weighted random.
        Random = ["random"],
        /// Sends requests with the same key to the same backend.
        ConsistentHash = ["consistent-hash", "consistent_hash", "ch"],
        /// Fewest requests in flight per weight.
        LeastConnections = ["least-connections", "least_connections", "lc"],
        /// Lowest expected response time.
        LatencyAware = ["latency-aware", "latency_aware", "la"],
        /// Sends all requests of a client connection to the same backend.
        StickyCid = ["sticky-cid", "sticky_cid", "cid-sticky", "cid_sticky"],
    }
}

block! {
    /// How a usable backend is selected. A block in an upstream replaces the global one as a whole.
    pub struct LoadBalancing standalone {
        /// The algorithm.
        algorithm as "type": Algorithm = Algorithm::RoundRobin, required(), invalid_by_level(TYPE, GLOBAL_TYPE);
        /// What `consistent-hash` hashes: `header:<name>`, `cookie:<name>`, `query:<name>`, `path`, `authority`, `method`,
        /// `cid` or `client-ip`.
        key: HashKey = HashKey::ClientIp, invalid(KEY), may_report(KEY_UNUSED);
        /// `consistent-hash` only: bound on a backend's load relative to the average; 0 = unbounded, else at least 1.
        load_factor: f64 = 1.25, fraction(|factor| factor == 0.0 || (factor >= 1.0 && factor.is_finite()), LOAD_FACTOR);
        /// Time in which a recovered backend returns to its full weight; 0 = off.
        slow_start_ms: Duration = Duration::from_secs(10);
        /// Below this percentage of healthy backends health is ignored; 0 = off.
        panic_threshold_percent: u8 = 0, range(0, 100, PANIC);
    }
    finalize |block: &mut LoadBalancing, mapping: &mut Mapping<'_, '_>| {
        if mapping.reader.upstream.is_some() {
            block.check_key(mapping, "", &[]);
        }
    }
}

impl LoadBalancing {
    /// Warns about a key that the algorithm does not use. `block` is the path of this block relative to the mapping, with a
    /// trailing dot.
    pub(crate) fn check_key(&self, mapping: &mut Mapping<'_, '_>, block: &str, arguments: &[(&str, &str)]) {
        let key = format!("{block}key");
        let used = self.algorithm == Algorithm::ConsistentHash
            || !mapping.written(&key)
            || mapping.any_failed(&format!("{block}type"));
        let arguments = [arguments, &[("type", self.algorithm.as_str())][..]].concat();
        mapping.require(used, &[&key], KEY_UNUSED, &arguments);
    }
}
