//! The order of timeouts: none is longer than another that it is a part of. Written values are compared; unwritten ones
//! follow them. Called by `performance` and by the `timeouts` of upstreams.

use std::time::Duration;

use crate::spec::Scope;
use crate::spec::text::{Text, text};
use crate::yaml::Place;

/// Quotes the longer value and where it was written.
pub(crate) const ORDER: Text = text("<key> must be <= <other> (<v>, written at line <line>)");
/// Says where the shorter value comes from if it is not written in the block at fault.
const INHERITED: &str = "<name> is <w>, written at line <at> as <global>";

/// A timeout of the block that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    key: &'static str,
    /// The key of `performance` that has the same meaning.
    global: &'static str,
    value: Duration,
    written: Option<Written>,
}

/// Where a value was written.
#[derive(Debug, Clone, Copy)]
struct Written {
    place: Place,
    /// In the block that is being read, and not in `performance` on behalf of it.
    here: bool,
}

impl Timeout {
    /// A timeout of the block of `scope` with the value in effect.
    pub(crate) fn new(scope: &Scope<'_, '_>, key: &'static str, global: &'static str, value: Duration) -> Self {
        let here = scope.node.find(key).filter(|_| !scope.any_failed(key)).map(|node| (node.place, true));
        let global_path = format!("performance.{global}");
        let inherited = || {
            let root = scope.reader.root.as_ref()?;
            let node = root.find(&global_path).filter(|_| !scope.reader.any_failed(&global_path))?;
            Some((node.place, false))
        };
        let written = here.or_else(inherited).map(|(place, here)| Written { place, here });
        Self { key, global, value, written }
    }

    fn written_value(self) -> Option<Duration> {
        self.written.map(|_| self.value)
    }

    /// The value, moved between the written values of those that must not be longer and those that must not be shorter.
    fn follow(self, shorter: &[Self], longer: &[Self]) -> Duration {
        if self.written.is_some() {
            return self.value;
        }
        let least = shorter.iter().filter_map(|timeout| timeout.written_value()).max();
        let most = longer.iter().filter_map(|timeout| timeout.written_value()).min();
        let value = least.map_or(self.value, |least| self.value.max(least));
        most.map_or(value, |most| value.min(most))
    }
}

/// The five timeouts that have an order: connecting is a part of waiting for the response, which is a part of the total;
/// silence in a body is no longer than the wait for its first byte, which is no longer than the total.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Timeout,
    pub(crate) response: Timeout,
    pub(crate) body_idle: Timeout,
    pub(crate) first_byte: Timeout,
    pub(crate) total: Timeout,
}

impl Timeouts {
    /// Reports written values that break the order, and gives every unwritten one the value that keeps it.
    pub(crate) fn settle(mut self, scope: &mut Scope<'_, '_>) -> Self {
        let Self { connect, response, body_idle, first_byte, total } = self;
        for [shortest, middle, longest] in [[connect, response, total], [body_idle, first_byte, total]] {
            if middle.written.is_some() {
                report(shortest, middle, scope);
                report(middle, longest, scope);
            } else {
                report(shortest, longest, scope);
            }
        }
        self.connect.value = connect.follow(&[], &[response, total]);
        self.response.value = response.follow(&[connect], &[total]);
        self.body_idle.value = body_idle.follow(&[], &[first_byte, total]);
        self.first_byte.value = first_byte.follow(&[body_idle], &[total]);
        self.total.value = total.follow(&[connect, response, body_idle, first_byte], &[]);
        self
    }
}

impl Timeout {
    /// The value in effect.
    pub(crate) fn value(self) -> Duration {
        self.value
    }
}

/// Reports `shorter` if both values are written, one of them in this block, and it is longer than `longer`.
fn report(shorter: Timeout, longer: Timeout, scope: &mut Scope<'_, '_>) {
    let (Some(from), Some(until)) = (shorter.written, longer.written) else { return };
    if shorter.value <= longer.value || !(from.here || until.here) {
        return;
    }
    let (place, text) = if from.here { (from.place, ORDER) } else { (until.place, ORDER.hint(INHERITED)) };
    let global = format!("performance.{}", shorter.global);
    let arguments = [
        ("other", longer.key),
        ("v", &*in_words(longer.value)),
        ("line", &*until.place.line.to_string()),
        ("name", shorter.key),
        ("w", &*in_words(shorter.value)),
        ("at", &*from.place.line.to_string()),
        ("global", &*global),
    ];
    scope.require_at(place, &[shorter.key, longer.key], text, &arguments);
}

/// Whole seconds where they are, else milliseconds.
fn in_words(value: Duration) -> String {
    let millis = value.as_millis();
    if millis.is_multiple_of(1000) { format!("{} s", value.as_secs()) } else { format!("{millis} ms") }
}
