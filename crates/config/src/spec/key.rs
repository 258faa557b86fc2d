//! The declaration of a key. Built by `block!`; read by the reader, schema, reference and diff.

use super::{Text, text};
use crate::yaml::emit::Value;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Another accepted name, or empty.
    pub(crate) alias: &'static str,
    /// The doc comment, which is the description in the reference.
    pub(crate) doc: &'static str,
    pub(crate) kind: fn() -> Kind,
    /// Checked in order; the first violation is reported.
    pub(crate) rules: [Option<Rule>; 4],
    /// Messages of checks that involve other keys, files or ports; listed in the reference.
    pub(crate) may_report: [Option<Text>; 8],
    /// The default in words if it is not a fixed value.
    pub(crate) default: &'static str,
    pub(crate) required: bool,
    /// A change of the key or of its subkeys requires a restart.
    pub(crate) restart: bool,
    /// Integers count seconds instead of milliseconds.
    pub(crate) seconds: bool,
}

/// A rule for a single value. Applies to each item of a list or map.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// For whole numbers, durations (in their unit) and sizes.
    Range { least: i128, most: i128, text: Text },
    /// For fractions.
    Fraction { check: fn(f64) -> bool, text: Text },
    /// For strings.
    Check { check: fn(&str) -> bool, text: Text },
    /// Replaces the message about a value that does not parse.
    Invalid { in_upstream: Text, global: Text },
}

impl Kind {
    /// Returns keys and doc comment of the block inside this kind, and the suffix of its path: empty, `[]` for a list,
    /// `.<name>` for a map.
    pub(crate) fn block(&self) -> Option<(&'static [Key], &'static str, &'static str)> {
        match self {
            Self::Block { keys, about, .. } => Some((keys, about, "")),
            Self::Optional(inner) => inner.block(),
            Self::List(inner) => inner.block().map(|(keys, about, _)| (keys, about, "[]")),
            Self::Map(inner) => inner.block().map(|(keys, about, _)| (keys, about, ".<name>")),
            _ => None,
        }
    }
}

impl Rule {
    pub(crate) fn texts(self) -> [Text; 2] {
        match self {
            Self::Range { text, .. } | Self::Fraction { text, .. } | Self::Check { text, .. } => [text, text],
            Self::Invalid { in_upstream, global } => [in_upstream, global],
        }
    }
}

/// The type of a key, as data.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    Integer {
        least: i128,
        most: i128,
    },
    Number,
    Duration,
    Size,
    /// A string, with the name of its format.
    Text(&'static str),
    /// A keyword. Each row has the spellings of one keyword, the canonical one first.
    Keywords(&'static [&'static [&'static str]]),
    /// `auto` or the inner kind.
    Auto(Box<Kind>),
    /// `null` means absent.
    Optional(Box<Kind>),
    /// A whole number or a string such as `200-299`.
    Range,
    List(Box<Kind>),
    /// A mapping with free names.
    Map(Box<Kind>),
    Block {
        keys: &'static [Key],
        about: &'static str,
        /// Returns the default values.
        defaults: fn() -> Value,
    },
    /// No value is accepted.
    Nothing,
}

/// Whether a string has a non-whitespace character.
pub(crate) fn is_not_blank(text: &str) -> bool {
    !text.trim().is_empty()
}

const POSITIVE: Text = text("<key> must be greater than 0");

impl Key {
    pub(crate) const fn new(name: &'static str, doc: &'static str, kind: fn() -> Kind) -> Self {
        Self {
            name,
            alias: "",
            doc,
            kind,
            rules: [None; 4],
            may_report: [None; 8],
            default: "",
            required: false,
            restart: false,
            seconds: false,
        }
    }

    /// Used to read or write a value outside a block.
    pub(crate) const NONE: Self = Self::new("", "", || Kind::Nothing);

    pub(crate) const fn alias(mut self, name: &'static str) -> Self {
        self.alias = name;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn restart(mut self) -> Self {
        self.restart = true;
        self
    }

    pub(crate) const fn seconds(mut self) -> Self {
        self.seconds = true;
        self
    }

    pub(crate) const fn default(mut self, words: &'static str) -> Self {
        self.default = words;
        self
    }

    pub(crate) const fn positive(self) -> Self {
        self.range(1, i128::MAX, POSITIVE)
    }

    pub(crate) const fn range(self, least: i128, most: i128, text: Text) -> Self {
        self.rule(Rule::Range { least, most, text })
    }

    pub(crate) const fn check(self, check: fn(&str) -> bool, text: Text) -> Self {
        self.rule(Rule::Check { check, text })
    }

    pub(crate) const fn fraction(self, check: fn(f64) -> bool, text: Text) -> Self {
        self.rule(Rule::Fraction { check, text })
    }

    pub(crate) const fn invalid(self, text: Text) -> Self {
        self.rule(Rule::Invalid { in_upstream: text, global: text })
    }

    pub(crate) const fn invalid_by_level(self, in_upstream: Text, global: Text) -> Self {
        self.rule(Rule::Invalid { in_upstream, global })
    }

    /// Lists a message that `finalize` or preflight may report, for the reference.
    pub(crate) const fn may_report(mut self, text: Text) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, _] = self.may_report;
        self.may_report = [Some(text), t0, t1, t2, t3, t4, t5, t6];
        self
    }

    const fn rule(mut self, rule: Rule) -> Self {
        self.rules = match self.rules {
            [None, ..] => [Some(rule), None, None, None],
            [a, None, ..] => [a, Some(rule), None, None],
            [a, b, None, _] => [a, b, Some(rule), None],
            [a, b, c, _] => [a, b, c, Some(rule)],
        };
        self
    }

    /// Returns all messages of the key, those of rules first.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Text> {
        let rules = self.rules.into_iter().flatten().flat_map(Rule::texts);
        let mut seen = Vec::new();
        rules.chain(self.may_report.into_iter().rev().flatten()).filter(move |text| {
            let new = !seen.contains(&text.template);
            seen.push(text.template);
            new
        })
    }
}
