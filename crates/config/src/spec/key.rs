//! What is known about one key. Data only; filled in by `block!`, read by the reader, schema, reference and diff.

use super::{Text, text};
use crate::yaml::emit::Shown;

/// A key of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Another accepted name, or empty.
    pub(crate) alias: &'static str,
    /// The doc comment: the entry of the reference.
    pub(crate) doc: &'static str,
    pub(crate) kind: fn() -> Kind,
    /// Tried in order; the first that does not hold is reported.
    pub(crate) rules: [Option<Rule>; 4],
    /// Texts of checks that involve other keys or the world; listed by the reference.
    pub(crate) says: [Option<Text>; 8],
    /// The default in words, where it is not a fixed value.
    pub(crate) default: &'static str,
    pub(crate) required: bool,
    /// Takes effect only after a restart, with everything below.
    pub(crate) restart: bool,
    /// Integers count seconds instead of milliseconds.
    pub(crate) seconds: bool,
}

/// A rule for the value alone. In lists and maps it holds for each item.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Whole numbers, durations (in their unit) and sizes.
    Range { least: i128, most: i128, text: Text },
    /// Fractions.
    Fraction { holds: fn(f64) -> bool, text: Text },
    /// Strings.
    Holds { holds: fn(&str) -> bool, text: Text },
    /// What is said of a value that its type cannot read. Two texts: inside an upstream and outside.
    Otherwise { inside: Text, outside: Text },
}

impl Kind {
    /// The block that the kind leads to, and what its path adds: nothing, `[]` for a list, `.<name>` for a map.
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
            Self::Range { text, .. } | Self::Fraction { text, .. } | Self::Holds { text, .. } => [text, text],
            Self::Otherwise { inside, outside } => [inside, outside],
        }
    }
}

/// What a type accepts.
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
    /// A string; the word names what it holds.
    Text(&'static str),
    /// One of these; each row is one meaning, its first word the canonical one.
    Words(&'static [&'static [&'static str]]),
    /// The word `auto`, or the other kind.
    Auto(Box<Kind>),
    /// `null` counts as absent.
    Optional(Box<Kind>),
    /// A whole number or a string such as `200-299`.
    Range,
    List(Box<Kind>),
    /// A mapping with free names.
    Map(Box<Kind>),
    Block {
        keys: &'static [Key],
        about: &'static str,
        /// The block without anything written.
        defaults: fn() -> Shown,
    },
    /// No value is accepted.
    Nothing,
}

/// For rules: whether a string says anything.
pub(crate) fn is_written(text: &str) -> bool {
    !text.trim().is_empty()
}

/// The rule of most counts.
const POSITIVE: Text = text("<key> must be greater than 0");

impl Key {
    /// A key without rules.
    pub(crate) const fn new(name: &'static str, doc: &'static str, kind: fn() -> Kind) -> Self {
        Self {
            name,
            alias: "",
            doc,
            kind,
            rules: [None; 4],
            says: [None; 8],
            default: "",
            required: false,
            restart: false,
            seconds: false,
        }
    }

    /// A stand-in where a value is read or shown outside a block.
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

    pub(crate) const fn holds(self, holds: fn(&str) -> bool, text: Text) -> Self {
        self.rule(Rule::Holds { holds, text })
    }

    pub(crate) const fn fraction(self, holds: fn(f64) -> bool, text: Text) -> Self {
        self.rule(Rule::Fraction { holds, text })
    }

    pub(crate) const fn otherwise(self, text: Text) -> Self {
        self.rule(Rule::Otherwise { inside: text, outside: text })
    }

    pub(crate) const fn otherwise_outside(self, inside: Text, outside: Text) -> Self {
        self.rule(Rule::Otherwise { inside, outside })
    }

    /// Names a text of a wider check, for the reference.
    pub(crate) const fn says(mut self, text: Text) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, _] = self.says;
        self.says = [Some(text), t0, t1, t2, t3, t4, t5, t6];
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

    /// Every text of the key, rules first.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Text> {
        let rules = self.rules.into_iter().flatten().flat_map(Rule::texts);
        let mut seen = Vec::new();
        rules.chain(self.says.into_iter().rev().flatten()).filter(move |text| {
            let new = !seen.contains(&text.template);
            seen.push(text.template);
            new
        })
    }
}
