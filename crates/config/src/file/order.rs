//! Checks the order of timeouts: a timeout must not exceed another one that includes it. Values set in the file are
//! compared; defaults adapt to them. Used by `performance` and by the `timeouts` of upstreams.

use std::time::Duration;

use crate::spec::Mapping;
use crate::spec::text::{Text, text};
use crate::yaml::Span;

/// Contains the value that is exceeded and its line.
pub(crate) const ORDER: Text = text("<key> must be <= <other> (<v>, written at line <line>)");
/// Hint with the source of the other value if it is not set in the same block.
const INHERITED: &str = "<name> is <w>, written at line <at> as <global>";

/// A timeout of the block that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    key: &'static str,
    /// The equivalent key of `performance`.
    global: &'static str,
    value: Duration,
    written: Option<Written>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    span: Span,
    /// Whether it is set in the block that is being read, not inherited from `performance`.
    here: bool,
}

impl Timeout {
    /// Returns a timeout of the block `mapping` with its effective value.
    pub(crate) fn new(mapping: &Mapping<'_, '_>, key: &'static str, global: &'static str, value: Duration) -> Self {
        let here = mapping.node.find(key).filter(|_| !mapping.any_failed(key)).map(|node| (node.span, true));
        let global_path = format!("performance.{global}");
        let inherited = || {
            let root = mapping.reader.root.as_ref()?;
            let node = root.find(&global_path).filter(|_| !mapping.reader.any_failed(&global_path))?;
            Some((node.span, false))
        };
        let written = here.or_else(inherited).map(|(span, here)| Written { span, here });
        Self { key, global, value, written }
    }

    fn written_value(self) -> Option<Duration> {
        self.written.map(|_| self.value)
    }

    /// Returns the value, limited by the written values of timeouts that must not be longer and of those that must not be
    /// shorter. A written value is not changed.
    fn clamp(self, shorter: &[Self], longer: &[Self]) -> Duration {
        if self.written.is_some() {
            return self.value;
        }
        let least = shorter.iter().filter_map(|timeout| timeout.written_value()).max();
        let most = longer.iter().filter_map(|timeout| timeout.written_value()).min();
        let value = least.map_or(self.value, |least| self.value.max(least));
        most.map_or(value, |most| value.min(most))
    }
}

/// The ordered timeouts: connect <= response <= total, and body idle <= first byte <= total.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Timeout,
    pub(crate) response: Timeout,
    pub(crate) body_idle: Timeout,
    pub(crate) first_byte: Timeout,
    pub(crate) total: Timeout,
}

impl Timeouts {
    /// Reports written values that violate the order, and adapts all others to it.
    pub(crate) fn finalize(mut self, mapping: &mut Mapping<'_, '_>) -> Self {
        let Self { connect, response, body_idle, first_byte, total } = self;
        for [shortest, middle, longest] in [[connect, response, total], [body_idle, first_byte, total]] {
            if middle.written.is_some() {
                report(shortest, middle, mapping);
                report(middle, longest, mapping);
            } else {
                report(shortest, longest, mapping);
            }
        }
        self.connect.value = connect.clamp(&[], &[response, total]);
        self.response.value = response.clamp(&[connect], &[total]);
        self.body_idle.value = body_idle.clamp(&[], &[first_byte, total]);
        self.first_byte.value = first_byte.clamp(&[body_idle], &[total]);
        self.total.value = total.clamp(&[connect, response, body_idle, first_byte], &[]);
        self
    }
}

impl Timeout {
    /// Returns the effective value.
    pub(crate) fn value(self) -> Duration {
        self.value
    }
}

/// Reports `shorter` if it is longer than `longer`, both are written, and one of them in this block.
fn report(shorter: Timeout, longer: Timeout, mapping: &mut Mapping<'_, '_>) {
    let (Some(from), Some(until)) = (shorter.written, longer.written) else { return };
    if shorter.value <= longer.value || !(from.here || until.here) {
        return;
    }
    let (span, text) = if from.here { (from.span, ORDER) } else { (until.span, ORDER.hint(INHERITED)) };
    let global = format!("performance.{}", shorter.global);
    let arguments = [
        ("other", longer.key),
        ("v", &*format_duration(longer.value)),
        ("line", &*until.span.line.to_string()),
        ("name", shorter.key),
        ("w", &*format_duration(shorter.value)),
        ("at", &*from.span.line.to_string()),
        ("global", &*global),
    ];
    mapping.require_at(span, &[shorter.key, longer.key], text, &arguments);
}

/// Formats whole seconds as seconds, else milliseconds.
fn format_duration(value: Duration) -> String {
    let millis = value.as_millis();
    if millis.is_multiple_of(1000) { format!("{} s", value.as_secs()) } else { format!("{millis} ms") }
}
