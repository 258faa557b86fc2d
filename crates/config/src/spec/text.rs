//! The texts of problems, as templates. Pure; filled in by the reader, listed by the reference page.

use crate::problem::{Code, Severity};

/// A documented text. `<x>` stands for a value: `<u>` the upstream, `<b>` the backend, `<key>` the path of the key,
/// `<block>` the path of the mapping around it, `<list>` the path of the list around it, a name given as argument, or else the value at fault as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) template: &'static str,
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    pub(crate) hint: &'static str,
}

/// A text of the common kind, without a hint.
pub(crate) const fn text(template: &'static str) -> Text {
    Text { template, severity: Severity::Error, code: Code::ConfigInvalid, hint: "" }
}

impl Text {
    /// With advice; the hint may hold the same placeholders.
    pub(crate) const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// One that does not refuse the file.
    pub(crate) const fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Of another kind.
    pub(crate) const fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
}

/// Replaces each `<name>` in `template` by what `value` has for it; unknown ones stay.
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
