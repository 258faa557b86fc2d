//! Templates of problem messages. Filled in by the reader, listed in the reference page.

use crate::problem::{Code, Severity};

/// A message with placeholders: `<u>` is the upstream, `<b>` the backend, `<key>` the path of the key, `<block>` and
/// `<list>` the paths of the mapping and the list around it. Any other name is an argument, or else the invalid value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) template: &'static str,
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    pub(crate) hint: &'static str,
}

/// Returns an error message with code `ConfigInvalid` and without a hint.
pub(crate) const fn text(template: &'static str) -> Text {
    Text { template, severity: Severity::Error, code: Code::ConfigInvalid, hint: "" }
}

impl Text {
    /// Sets the hint, which may contain the same placeholders.
    pub(crate) const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) const fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(crate) const fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
}

/// Replaces each `<name>` in `template` by `value(name)`; keeps those for which it returns `None`.
pub(crate) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len().saturating_mul(2));
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let name = after.split_once('>').map(|(name, _)| name).filter(|name| is_name(name));
        if let Some((taken, value)) = name.and_then(|name| Some((name.len().saturating_add(1), value(name)?))) {
            out.push_str(&value);
            rest = after.get(taken..).unwrap_or_default();
        } else {
            out.push('<');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_comparisons_left_alone() {
        let value = |name: &str| (name != "x").then(|| name.to_uppercase());
        assert_eq!(fill("'<u>' (<a1>) must be <= <x> < <b>", value), "'U' (A1) must be <= <x> < B");
    }
}
