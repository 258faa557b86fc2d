//! The root of the file, and the checks between its blocks. `listeners` contains `listen` after loading.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::balancing::LoadBalancing;
use super::listen::{Listener, socket_name};
use super::log::Log;
use super::observability::Observability;
use super::performance::{Performance, WAIT_TWICE};
use super::resilience::Resilience;
use super::security::{Reload, Security};
use super::tls::UpstreamTls;
use super::upstream::{AMBIGUOUS, METHOD_CONNECT, NAME_EMPTY, Upstream};
use crate::problem::Code;
use crate::spec::Mapping;
use crate::spec::block::block;
use crate::spec::text::{Text, text};
use crate::value::http::Method;
use crate::yaml::Node;

const VERSION_KIND: Text = text("config 'version' must be a positive integer");
const VERSION_RANGE: Text = text("config 'version' value <n> is out of range");
const VERSION: Text = text("Invalid version: expected '1', found '<v>'");
const NO_UPSTREAMS: Text = text("No upstreams configured");
const LISTEN_IGNORED: Text = text("listen is ignored because listeners is set").warning();
const NAME_TWICE: Text = text("listener name '<n>' is used by <other> already");
const CONFLICT: Text = text("listener binding conflict: <x> duplicates <y> on <a>").code(Code::ListenerBindConflict);

block! {
    /// The root of the file.
    pub struct Config {
        /// Version of the file format.
        version: u32 = 1, invalid(VERSION_KIND), range(1, i128::MAX, VERSION_KIND),
            range(1, 4_294_967_295, VERSION_RANGE), range(1, 1, VERSION);
        /// The listener for clients. Required unless `listeners` has entries.
        listen: Option<Listener> = None, default("required without `listeners`");
        /// Several listeners; when not empty it replaces `listen`.
        listeners: Vec<Listener> = Vec::new(), may_report(LISTEN_IGNORED), may_report(CONFLICT), may_report(NAME_TWICE);
        /// Load balancing of upstreams that do not set it.
        load_balancing: Option<LoadBalancing> = None;
        /// TLS to backends.
        upstream_tls: UpstreamTls = UpstreamTls::default();
        /// Threads, sockets, QUIC, timeouts and limits.
        performance: Performance = Performance::default();
        /// Routes and their backends, by name.
        upstreams as "upstream": Vec<Upstream> =>
            vec![Upstream::inheriting(&performance, &upstream_tls, load_balancing.as_ref())],
            required(), may_report(NO_UPSTREAMS), may_report(NAME_EMPTY), may_report(AMBIGUOUS);
        /// The log.
        log: Log = Log::default();
        /// Limits, queues, retries, circuits and policies.
        resilience: Resilience => Resilience::inheriting(&performance);
        /// Metrics, control API, tracing, route decisions.
        observability: Observability = Observability::default();
        /// Privileges and sandbox.
        security: Security = Security::default();
        /// Automatic reload when files change.
        reload: Reload = Reload::default();
    }
    finalize Config::finalize
}

impl Config {
    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        self.finalize_listeners(mapping);
        let missing = self.upstreams.is_empty() && mapping.written("upstream") && !mapping.any_failed("upstream");
        mapping.require(!missing, &["upstream"], NO_UPSTREAMS, &[]);
        let waits = ["performance.inflight_acquire_wait_ms", "resilience.route_queue.max_wait_ms"];
        // Its value is already in `route_queue.max_wait_ms`.
        let other = self.performance.inflight_acquire_wait_ms.take();
        mapping.require(other.is_none() || !mapping.written(waits[1]), &waits, WAIT_TWICE, &[]);
        self.resilience.adaptive_admission.check(&self.performance, mapping);
        let written = mapping.node.entry("upstream").map_or(&[][..], |entry| entry.node.entries());
        let written: HashMap<&str, &Node> = written.iter().map(|entry| (entry.name.as_str(), &*entry.node)).collect();
        self.resilience.check_names(|name| written.contains_key(name), mapping);
        self.check_routes(&written, mapping);
        self.check_global_key(&written, mapping);
        self.check_bindings(mapping);
        if !mapping.written("observability.tracing.otlp_endpoint") {
            self.observability.tracing.follow_environment(mapping.reader.env);
        }
    }

    fn finalize_listeners(&mut self, mapping: &mut Mapping<'_, '_>) {
        if self.listeners.is_empty() {
            match &self.listen {
                Some(listener) => self.listeners.push(listener.clone()),
                None if !mapping.any_failed("listen") => mapping.missing("listen"),
                None => {}
            }
        } else {
            mapping.require(self.listen.take().is_none(), &["listen"], LISTEN_IGNORED, &[]);
        }
        let mut names: HashMap<&str, &str> = HashMap::new();
        for listener in &self.listeners {
            if let Some(other) = names.insert(&listener.name, &listener.key) {
                let arguments = [("n", listener.name.as_str()), ("other", other)];
                if mapping.written(&format!("{}.name", listener.key)) {
                    mapping.require(false, &[&format!("{}.name", listener.key)], NAME_TWICE, &arguments);
                }
            }
        }
    }

    /// Reports upstreams with equal routes. `written` are the upstreams of the file.
    fn check_routes(&self, written: &HashMap<&str, &Node>, mapping: &mut Mapping<'_, '_>) {
        // Looking up each upstream by its path would be slow with many of them.
        let given = |name: &str, key: &str| written.get(name).and_then(|node| node.find(key)).map(|node| node.span);
        let connect = self.resilience.protocol.allow_connect;
        let mut seen: HashMap<(String, &str, &str), &str> = HashMap::new();
        for upstream in &self.upstreams {
            let (name, route) = (upstream.name.as_str(), &upstream.route);
            let block = format!("upstream.{name}.route");
            let method = route.method.as_ref().map_or("*", Method::as_str);
            if let (false, "CONNECT", Some(span)) = (connect, method, given(name, "route.method")) {
                mapping.require_at(span, &[&format!("{block}.method")], METHOD_CONNECT, &[("u", name)]);
            }
            let Some(span) = given(name, "route").filter(|_| !mapping.any_failed(&block)) else { continue };
            let host = route.host.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string);
            match seen.entry((host, &route.path_prefix, method)) {
                Entry::Vacant(free) => {
                    free.insert(name);
                }
                Entry::Occupied(taken) => {
                    let (other, (host, prefix, _)) = (*taken.get(), taken.key());
                    let any = given(name, "route.path_prefix").is_none() && given(other, "route.path_prefix").is_none();
                    let prefix = if any { "*" } else { prefix };
                    let arguments = [("a", name), ("b", other), ("h", host), ("p", prefix), ("m", method)];
                    mapping.require_at(span, &[&block], AMBIGUOUS, &arguments);
                }
            }
        }
    }

    /// Checks the key of the global block; the message names the first upstream that uses the block.
    fn check_global_key(&self, written: &HashMap<&str, &Node>, mapping: &mut Mapping<'_, '_>) {
        let is_own = |name: &str| written.get(name).is_some_and(|node| node.entry("load_balancing").is_some());
        let user = self.upstreams.iter().find(|upstream| !is_own(&upstream.name));
        if let (Some(block), Some(upstream)) = (&self.load_balancing, user) {
            block.check_key(mapping, "load_balancing.", &[("u", &upstream.name)]);
        }
    }

    /// Reports sockets with equal addresses and ports.
    fn check_bindings(&self, mapping: &mut Mapping<'_, '_>) {
        let mut sockets: Vec<(&str, String, &str, u16)> = Vec::new();
        for listener in &self.listeners {
            sockets.push((&listener.name, format!("{}.port", listener.key), &listener.address, listener.port));
            let redirect = &listener.http_redirect;
            if redirect.enabled {
                let key = format!("{}.http_redirect", listener.key);
                sockets.push(("http_redirect", key, &redirect.address, redirect.port));
            }
        }
        let (metrics, control) = (&self.observability.metrics, &self.observability.control_api);
        if metrics.enabled {
            sockets.push(("metrics", "observability.metrics.port".to_owned(), &metrics.address, metrics.port));
        }
        if control.enabled {
            sockets.push(("control_api", "observability.control_api.port".to_owned(), &control.address, control.port));
        }
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (name, key, address, port) in sockets {
            let socket = socket_name(address, port);
            match seen.get(&socket) {
                Some(other) => {
                    let arguments = [("x", name), ("y", *other), ("a", &*socket)];
                    mapping.require(false, &[&key], CONFLICT, &arguments);
                }
                None => {
                    seen.insert(socket, name);
                }
            }
        }
    }
}
