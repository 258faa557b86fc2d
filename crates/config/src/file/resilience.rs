//! `resilience`: limits, queues, retries, circuit breaking and the watchdog.

use std::collections::BTreeMap;
use std::time::Duration;

use super::performance::Performance;
use super::protocol::{Protocol, safe_methods};
use crate::problem::Code;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, Mapping, Reader};
use crate::value::http::Method;
use crate::value::quantity::millis;
use crate::yaml::Node;
use crate::yaml::emit::Value;

const MAX_BELOW_MIN: Text = text("resilience.adaptive_admission.max_limit (<a>) must be >= min_limit (<b>)");
const MAX_ABOVE_GLOBAL: Text =
    text("resilience.adaptive_admission.max_limit (<a>) must be <= performance.global_inflight_limit (<b>)");
const CAPS: Text = text("resilience.route_queue.caps values must be greater than 0");
pub(crate) const UNKNOWN_UPSTREAM: Text = text("<list> names an unknown upstream '<u>'");
const MAX_OPEN: Text = text("resilience.circuit_breaker.max_open_percent must be <= 100");
const HEDGING_DELAY: Text =
    text("resilience.hedging: delay_ms must be > 0 when hedging is enabled").code(Code::UnsupportedPolicyCombination);
const HEDGING_METHODS: Text = text("resilience.hedging.safe_methods must not contain empty values");
const RATIO: Text = text("resilience.retry_budget.ratio_percent must be <= 100");
const ROUTE_RATIO: Text = text("resilience.retry_budget.per_route_ratio_percent values must be <= 100");
const BROWNOUT_PERCENT: Text = text("resilience.brownout inflight percentages must be <= 100");
const BROWNOUT_ORDER: Text = text("resilience.brownout.recover_inflight_percent must be < trigger_inflight_percent");
const BROWNOUT_CORE: Text = text("resilience.brownout.core_routes is empty: brownout has no effect").warning();
const WATCHDOG_ERRORS: Text = text("resilience.watchdog.timeout_error_rate_percent must be <= 100");
const WATCHDOG_OVERLOAD: Text = text("resilience.watchdog.overload_inflight_percent must be <= 100");
const WATCHDOG_COMMAND: Text = text("resilience.watchdog.restart_command[0] must be a non-empty executable path");
const WATCHDOG_HOOK: Text =
    text("resilience.watchdog.restart_hook is deprecated and unsupported; use restart_command instead");

block! {
    /// Limits, queues, retries, circuits and policies. Keys that list routes take upstream names.
    pub struct Resilience {
        /// A limit on requests in flight that follows upstream latency.
        adaptive_admission: AdaptiveAdmission = AdaptiveAdmission::default();
        /// Requests that wait for a permit.
        route_queue: RouteQueue = RouteQueue::default();
        /// Which requests are accepted.
        protocol: Protocol = Protocol::default();
        /// Stops sending requests to backends that fail.
        circuit_breaker: CircuitBreaker = CircuitBreaker::default();
        /// Sends a second attempt for slow requests.
        hedging: Hedging = Hedging::default();
        /// Limits retries and hedges.
        retry_budget: RetryBudget = RetryBudget::default();
        /// Serves only core routes under high load.
        brownout: Brownout = Brownout::default();
        /// Detects that the process no longer makes progress.
        watchdog: Watchdog = Watchdog::default();
    }
}

impl Resilience {
    /// Returns the block with the defaults that depend on `performance`.
    pub(crate) fn inheriting(performance: &Performance) -> Self {
        let mut block = Self::default();
        block.adaptive_admission.max_limit = performance.global_inflight_limit;
        if let Some(wait) = performance.inflight_acquire_wait_ms {
            block.route_queue.max_wait_ms = wait;
        }
        block
    }
}

block! {
    /// A limit on requests in flight that follows upstream latency.
    pub struct AdaptiveAdmission {
        /// `false`: no adaptive limit at all.
        enabled: bool = true;
        /// Lower bound of the limit; effectively at most `global_inflight_limit`.
        min_limit: usize = 64, positive();
        /// Upper bound of the limit.
        max_limit: usize = 4096, positive(), may_report(MAX_BELOW_MIN), may_report(MAX_ABOVE_GLOBAL),
            default("`performance.global_inflight_limit`");
        /// Amount by which a slow window lowers the limit.
        decrease_step: usize = 16, positive();
        /// Amount by which any other window raises the limit.
        increase_step: usize = 16, positive();
        /// A window is slow if its median time to the response head is above this and above three times the baseline.
        high_latency_ms: Duration = millis(500), positive();
    }
    finalize |block: &mut AdaptiveAdmission, mapping: &mut Mapping<'_, '_>| {
        let arguments = [("a", &*block.max_limit.to_string()), ("b", &*block.min_limit.to_string())];
        let ordered = !mapping.written("max_limit") || block.max_limit >= block.min_limit;
        mapping.require(ordered, &["max_limit", "min_limit"], MAX_BELOW_MIN, &arguments);
    }
}

impl AdaptiveAdmission {
    /// Runs the checks that need `performance`, and lowers `min_limit` to `max_limit` if it is higher.
    pub(crate) fn check(&mut self, performance: &Performance, mapping: &mut Mapping<'_, '_>) {
        const KEY: &str = "resilience.adaptive_admission.max_limit";
        let (most, global) = (self.max_limit, performance.global_inflight_limit);
        let arguments = [("a", &*most.to_string()), ("b", &*global.to_string())];
        let keys = [KEY, "performance.global_inflight_limit"];
        mapping.require(most <= global, &keys, MAX_ABOVE_GLOBAL, &arguments);
        self.min_limit = self.min_limit.min(self.max_limit);
    }
}

block! {
    /// Requests that wait for a permit.
    pub struct RouteQueue {
        /// Maximum number of waiting requests per upstream.
        default_cap: usize = 512, positive();
        /// Maximum number of waiting requests in the process.
        global_cap: usize = 2048, positive();
        /// Maximum number of waiting requests of single upstreams, by name.
        caps: BTreeMap<String, usize> = BTreeMap::new(), range(1, i128::MAX, CAPS), may_report(UNKNOWN_UPSTREAM);
        /// Maximum time that a request waits; 0 = refuse at once.
        max_wait_ms: Duration = millis(500);
        /// `retry-after` of a refused request.
        shed_retry_after_seconds: Duration = Duration::from_secs(1), seconds(), positive();
    }
}

block! {
    /// Stops sending requests to backends that fail.
    pub struct CircuitBreaker {
        /// Whether circuits open.
        enabled: bool = true;
        /// Consecutive failures that open a circuit.
        failure_threshold: usize = 3, positive();
        /// Time that a circuit stays open. Earlier default: 30 s.
        open_ms: Duration = millis(5000), positive();
        /// Concurrent probe requests of a half-open circuit.
        half_open_max_probes: usize = 1, positive();
        /// Percentage of the backends of a pool (rounded down) whose circuits may be open at the same time. Below 100, the
        /// circuit of a pool's only backend never opens.
        max_open_percent: u8 = 50, range(0, 100, MAX_OPEN);
        /// Whether 5xx responses count as failures.
        count_5xx: bool = false;
    }
}

block! {
    /// Sends a second attempt for slow requests.
    pub struct Hedging {
        /// Whether requests are hedged.
        enabled: bool = false;
        /// Time after which the second attempt starts.
        delay_ms: Duration = millis(100), may_report(HEDGING_DELAY);
        /// Methods that may be sent twice.
        safe_methods: Vec<Method> = safe_methods(), check(is_not_blank, HEDGING_METHODS);
        /// Upstreams that are hedged; empty = all.
        route_allowlist: Vec<String> = Vec::new(), may_report(UNKNOWN_UPSTREAM);
    }
    finalize |block: &mut Hedging, mapping: &mut Mapping<'_, '_>| {
        let late = !block.enabled || block.delay_ms > Duration::ZERO;
        mapping.require(late, &["delay_ms", "enabled"], HEDGING_DELAY, &[]);
    }
}

block! {
    /// Limits retries and hedges.
    pub struct RetryBudget {
        /// `false`: retries are limited only by `max_retries`.
        enabled: bool = true;
        /// Maximum retries and hedges as a percentage of first attempts.
        ratio_percent: u8 = 10, range(0, 100, RATIO);
        /// The same for single upstreams, by name.
        per_route_ratio_percent: BTreeMap<String, u8> = BTreeMap::new(), range(0, 100, ROUTE_RATIO),
            may_report(UNKNOWN_UPSTREAM);
        /// Time window of the counts.
        window_ms: Duration = millis(10_000), positive();
        /// Number of retries that are always allowed per window.
        min_retries: usize = 3;
        /// Maximum number of further attempts of a request; 0 = no retries and no hedges.
        max_retries: usize = 2;
    }
}

block! {
    /// Serves only core routes under high load.
    pub struct Brownout {
        /// Whether brownout can start.
        enabled: bool = true;
        /// Starts when this percentage of the limit is in flight.
        trigger_inflight_percent: u8 = 90, range(0, 100, BROWNOUT_PERCENT);
        /// Ends at this percentage.
        recover_inflight_percent: u8 = 60, range(0, 100, BROWNOUT_PERCENT), may_report(BROWNOUT_ORDER);
        /// Upstreams that are still served.
        core_routes: Vec<String> = Vec::new(), may_report(UNKNOWN_UPSTREAM), may_report(BROWNOUT_CORE);
    }
    finalize |block: &mut Brownout, mapping: &mut Mapping<'_, '_>| {
        let ordered = block.recover_inflight_percent < block.trigger_inflight_percent;
        mapping.require(ordered, &["recover_inflight_percent", "trigger_inflight_percent"], BROWNOUT_ORDER, &[]);
        mapping.require(!block.enabled || !block.core_routes.is_empty(), &["core_routes"], BROWNOUT_CORE, &[]);
    }
}

block! {
    /// Detects that the process no longer makes progress.
    pub struct Watchdog {
        /// Whether it watches.
        enabled: bool = false;
        /// Length of a window.
        check_interval_ms: Duration = millis(1000), positive();
        /// A worker without progress for this time degrades the window.
        poll_stall_timeout_ms: Duration = millis(5000), positive();
        /// Percentage of requests with upstream timeouts that degrades the window.
        timeout_error_rate_percent: u8 = 60, range(0, 100, WATCHDOG_ERRORS);
        /// Minimum number of requests of a window for `timeout_error_rate_percent`.
        min_requests_per_window: usize = 20, positive();
        /// Percentage of the limit in flight that degrades the window.
        overload_inflight_percent: u8 = 95, range(0, 100, WATCHDOG_OVERLOAD);
        /// Consecutive degraded windows before a restart.
        unhealthy_consecutive_windows: usize = 3, positive();
        /// Maximum duration of the drain before a restart.
        drain_grace_ms: Duration = millis(8000), positive();
        /// Minimum time between two restarts.
        restart_cooldown_ms: Duration = millis(120_000), positive();
        /// Program and arguments that restart the process; empty = only warn.
        restart_command: Vec<String> = Vec::new(), may_report(WATCHDOG_COMMAND);
        /// Removed: use `restart_command`.
        restart_hook: Option<Unsupported> = None, invalid(WATCHDOG_HOOK);
    }
    finalize |block: &mut Watchdog, mapping: &mut Mapping<'_, '_>| {
        let named = block.restart_command.first().is_none_or(|program| is_not_blank(program));
        mapping.require(named, &["restart_command[0]"], WATCHDOG_COMMAND, &[]);
    }
}

/// The type of a removed key.
#[derive(Debug, Clone, PartialEq)]
pub enum Unsupported {}

impl ConfigValue for Unsupported {
    fn kind() -> Kind {
        Kind::Nothing
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        reader.report_invalid(node, key, "", WATCHDOG_HOOK);
        None
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Null
    }
}

impl Resilience {
    /// Reports names of upstreams that do not exist.
    pub(crate) fn check_names(&self, is_upstream: impl Fn(&str) -> bool, mapping: &mut Mapping<'_, '_>) {
        // Positions come from the entries, because looking up each name would be slow with a million of them.
        for list in ["resilience.route_queue.caps", "resilience.retry_budget.per_route_ratio_percent"] {
            let entries = mapping.node.find(list).map_or(&[][..], Node::entries);
            for entry in entries.iter().filter(|entry| !is_upstream(&entry.name)) {
                let (key, arguments) = (format!("{list}.{}", entry.name), [("list", list), ("u", &*entry.name)]);
                mapping.require_at(entry.node.span, &[&key], UNKNOWN_UPSTREAM, &arguments);
            }
        }
        let mut check = |list: &str, name: &str, key: &str| {
            let arguments = [("list", list), ("u", name)];
            mapping.require(is_upstream(name), &[key], UNKNOWN_UPSTREAM, &arguments);
        };
        for (index, name) in self.hedging.route_allowlist.iter().enumerate() {
            let list = "resilience.hedging.route_allowlist";
            check(list, name, &format!("{list}[{index}]"));
        }
        for (index, name) in self.brownout.core_routes.iter().enumerate() {
            let list = "resilience.brownout.core_routes";
            check(list, name, &format!("{list}[{index}]"));
        }
    }
}
