//! `resilience`: what keeps the process and its backends standing under load and failure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::performance::Performance;
use super::protocol::{Protocol, safe_methods};
use crate::problem::Code;
use crate::spec::block::block;
use crate::spec::key::is_written;
use crate::spec::text::{Text, text};
use crate::spec::{Key, Kind, Reader, Scope, Value};
use crate::value::http::Method;
use crate::value::quantity::millis;
use crate::yaml::Node;
use crate::yaml::emit::Shown;

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
    /// Limits, queues, retries, circuits and policies. Maps and lists of routes contain upstream names.
    pub struct Resilience {
        /// A limit on requests in flight that follows upstream latency.
        adaptive_admission: AdaptiveAdmission = AdaptiveAdmission::default();
        /// Requests that wait for a permit.
        route_queue: RouteQueue = RouteQueue::default();
        /// Which requests are accepted.
        protocol: Protocol = Protocol::default();
        /// Stops sending requests to backends that fail.
        circuit_breaker: CircuitBreaker = CircuitBreaker::default();
        /// A second attempt for slow requests.
        hedging: Hedging = Hedging::default();
        /// Limits retries and hedges.
        retry_budget: RetryBudget = RetryBudget::default();
        /// Serves only core routes under load.
        brownout: Brownout = Brownout::default();
        /// Detects that the process no longer serves.
        watchdog: Watchdog = Watchdog::default();
    }
}

impl Resilience {
    /// The defaults that follow from `performance`.
    pub(crate) fn under(performance: &Performance) -> Self {
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
        /// The limit never falls below this; never above `global_inflight_limit` in effect.
        min_limit: usize = 64, positive();
        /// The limit never rises above this.
        max_limit: usize = 4096, positive(), says(MAX_BELOW_MIN), says(MAX_ABOVE_GLOBAL),
            default("`performance.global_inflight_limit`");
        /// By how much a late window lowers the limit.
        decrease_step: usize = 16, positive();
        /// By how much any other window raises the limit.
        increase_step: usize = 16, positive();
        /// A window with a median time to the response head above this, and above three times the baseline, lowers the
        /// limit.
        high_latency_ms: Duration = millis(500), positive();
    }
    settle |block: &mut AdaptiveAdmission, scope: &mut Scope<'_, '_>| {
        let arguments = [("a", &*block.max_limit.to_string()), ("b", &*block.min_limit.to_string())];
        let ordered = !scope.written("max_limit") || block.max_limit >= block.min_limit;
        scope.require(ordered, &["max_limit", "min_limit"], MAX_BELOW_MIN, &arguments);
    }
}

impl AdaptiveAdmission {
    /// Checks that need `performance`. Without a maximum of its own the global limit is one, and the minimum gives way.
    pub(crate) fn check(&mut self, performance: &Performance, scope: &mut Scope<'_, '_>) {
        const KEY: &str = "resilience.adaptive_admission.max_limit";
        let (most, global) = (self.max_limit, performance.global_inflight_limit);
        let arguments = [("a", &*most.to_string()), ("b", &*global.to_string())];
        let keys = [KEY, "performance.global_inflight_limit"];
        scope.require(most <= global, &keys, MAX_ABOVE_GLOBAL, &arguments);
        self.min_limit = self.min_limit.min(self.max_limit);
    }
}

block! {
    /// Requests that wait for a permit.
    pub struct RouteQueue {
        /// Waiting requests per upstream.
        default_cap: usize = 512, positive();
        /// Waiting requests in the process.
        global_cap: usize = 2048, positive();
        /// Waiting requests of one upstream, by its name.
        caps: BTreeMap<String, usize> = BTreeMap::new(), range(1, i128::MAX, CAPS), says(UNKNOWN_UPSTREAM);
        /// How long a request waits; 0 = never, refuse at once.
        max_wait_ms: Duration = millis(500);
        /// `retry-after` of a refusal.
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
        /// How long it stays open. Earlier default: 30 s.
        open_ms: Duration = millis(5000), positive();
        /// Concurrent probe requests of a half-open circuit.
        half_open_max_probes: usize = 1, positive();
        /// Share of a pool (rounded down, by count) whose circuits may be open together. Below 100 a pool's only backend
        /// keeps its circuit closed.
        max_open_percent: u8 = 50, range(0, 100, MAX_OPEN);
        /// Whether answers from 500 on count as failures.
        count_5xx: bool = false;
    }
}

block! {
    /// A second attempt for slow requests.
    pub struct Hedging {
        /// Whether requests are hedged.
        enabled: bool = false;
        /// How long the first attempt runs before the second starts.
        delay_ms: Duration = millis(100), says(HEDGING_DELAY);
        /// Methods that may be sent twice.
        safe_methods: Vec<Method> = safe_methods(), holds(is_written, HEDGING_METHODS);
        /// Upstreams that are hedged; empty = all.
        route_allowlist: Vec<String> = Vec::new(), says(UNKNOWN_UPSTREAM);
    }
    settle |block: &mut Hedging, scope: &mut Scope<'_, '_>| {
        let late = !block.enabled || block.delay_ms > Duration::ZERO;
        scope.require(late, &["delay_ms", "enabled"], HEDGING_DELAY, &[]);
    }
}

block! {
    /// Limits retries and hedges.
    pub struct RetryBudget {
        /// `false`: retries are limited only by `max_retries`.
        enabled: bool = true;
        /// Retries and hedges as a share of first attempts.
        ratio_percent: u8 = 10, range(0, 100, RATIO);
        /// The same for one upstream, by its name.
        per_route_ratio_percent: BTreeMap<String, u8> = BTreeMap::new(), range(0, 100, ROUTE_RATIO),
            says(UNKNOWN_UPSTREAM);
        /// The time over which they are counted.
        window_ms: Duration = millis(10_000), positive();
        /// Retries always allowed per window.
        min_retries: usize = 3;
        /// Further attempts of one request; 0 = no retries and no hedges.
        max_retries: usize = 2;
    }
}

block! {
    /// Serves only core routes under load.
    pub struct Brownout {
        /// Whether brownout can start.
        enabled: bool = true;
        /// Starts when this share of the limit is in flight.
        trigger_inflight_percent: u8 = 90, range(0, 100, BROWNOUT_PERCENT);
        /// Ends at this share.
        recover_inflight_percent: u8 = 60, range(0, 100, BROWNOUT_PERCENT), says(BROWNOUT_ORDER);
        /// Upstreams that are still served.
        core_routes: Vec<String> = Vec::new(), says(UNKNOWN_UPSTREAM), says(BROWNOUT_CORE);
    }
    settle |block: &mut Brownout, scope: &mut Scope<'_, '_>| {
        let ordered = block.recover_inflight_percent < block.trigger_inflight_percent;
        scope.require(ordered, &["recover_inflight_percent", "trigger_inflight_percent"], BROWNOUT_ORDER, &[]);
        scope.require(!block.enabled || !block.core_routes.is_empty(), &["core_routes"], BROWNOUT_CORE, &[]);
    }
}

block! {
    /// Detects that the process no longer serves.
    pub struct Watchdog {
        /// Whether it watches.
        enabled: bool = false;
        /// Length of a window.
        check_interval_ms: Duration = millis(1000), positive();
        /// A worker without progress for this long degrades the window.
        poll_stall_timeout_ms: Duration = millis(5000), positive();
        /// Share of requests with upstream timeouts that degrades the window.
        timeout_error_rate_percent: u8 = 60, range(0, 100, WATCHDOG_ERRORS);
        /// Minimum requests of a window for that share.
        min_requests_per_window: usize = 20, positive();
        /// Share of the limit in flight that degrades the window.
        overload_inflight_percent: u8 = 95, range(0, 100, WATCHDOG_OVERLOAD);
        /// Degraded windows in a row before a restart.
        unhealthy_consecutive_windows: usize = 3, positive();
        /// Maximum duration of the drain before a restart.
        drain_grace_ms: Duration = millis(8000), positive();
        /// At most one restart in this time.
        restart_cooldown_ms: Duration = millis(120_000), positive();
        /// Program and arguments that restart the process; empty = only warn.
        restart_command: Vec<String> = Vec::new(), says(WATCHDOG_COMMAND);
        /// Removed: use `restart_command`.
        restart_hook: Option<Unsupported> = None, otherwise(WATCHDOG_HOOK);
    }
    settle |block: &mut Watchdog, scope: &mut Scope<'_, '_>| {
        let named = block.restart_command.first().is_none_or(|program| is_written(program));
        scope.require(named, &["restart_command[0]"], WATCHDOG_COMMAND, &[]);
    }
}

/// A key that takes no value any more.
#[derive(Debug, Clone, PartialEq)]
pub enum Unsupported {}

impl Value for Unsupported {
    fn kind() -> Kind {
        Kind::Nothing
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        reader.unreadable(node, key, "", WATCHDOG_HOOK);
        None
    }

    fn show(&self, _key: &Key) -> Shown {
        Shown::Null
    }
}

impl Resilience {
    /// Reports names that are no upstream.
    pub(crate) fn check_names(&self, is_upstream: impl Fn(&str) -> bool, scope: &mut Scope<'_, '_>) {
        // Places come from the entries: looking each name up again takes too long where there are a million.
        for list in ["resilience.route_queue.caps", "resilience.retry_budget.per_route_ratio_percent"] {
            let entries = scope.node.find(list).map_or(&[][..], Node::entries);
            for entry in entries.iter().filter(|entry| !is_upstream(&entry.name)) {
                let (key, arguments) = (format!("{list}.{}", entry.name), [("list", list), ("u", &*entry.name)]);
                scope.require_at(entry.node.place, &[&key], UNKNOWN_UPSTREAM, &arguments);
            }
        }
        let mut check = |list: &str, name: &str, key: &str| {
            let arguments = [("list", list), ("u", name)];
            scope.require(is_upstream(name), &[key], UNKNOWN_UPSTREAM, &arguments);
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
