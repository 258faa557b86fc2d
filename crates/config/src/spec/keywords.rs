//! `keywords!`: declares an enum of case-insensitive keywords.

/// Declares an enum with the spellings of each variant, the canonical one first, and implements `ConfigValue`.
macro_rules! keywords {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = [$($word:literal),+],)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            const KEYWORDS: &'static [&'static [&'static str]] = &[$(&[$($word),+]),+];

            /// Returns the canonical spelling.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => {
                        const SPELLINGS: &[&str] = &[$($word),+];
                        let [first, ..] = SPELLINGS else { return "" };
                        first
                    })+
                }
            }

            /// Parses any spelling, in any letter case.
            pub fn parse(word: &str) -> Option<Self> {
                $(if [$($word),+].iter().any(|known| known.eq_ignore_ascii_case(word)) {
                    return Some(Self::$variant);
                })+
                None
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::spec::ListItem for $name {}

        impl $crate::spec::ConfigValue for $name {
            fn kind() -> $crate::spec::Kind {
                $crate::spec::Kind::Keywords(Self::KEYWORDS)
            }

            fn read(
                reader: &mut $crate::spec::Reader<'_>,
                node: &$crate::yaml::Node,
                key: &$crate::spec::Key,
                _base: Option<&Self>,
            ) -> Option<Self> {
                reader.keyword(node, key, Self::KEYWORDS, Self::parse)
            }

            fn to_value(&self, _key: &$crate::spec::Key) -> $crate::yaml::emit::Value {
                $crate::yaml::emit::Value::Text(self.as_str().to_owned())
            }
        }
    };
}
pub(crate) use keywords;

use super::text::{Text, text};
use super::{Key, Reader, Rule};
use crate::yaml::{Node, Tree};

const NOT_LISTED: Text = text("invalid value '<v>': expected one of <list>");

/// Messages that can be about any keyword.
pub(crate) const TEXTS: [Text; 1] = [NOT_LISTED];

impl Reader<'_> {
    /// Reads a keyword, or reports the valid ones.
    pub(crate) fn keyword<T>(
        &mut self,
        node: &Node,
        key: &Key,
        words: &[&[&str]],
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !matches!(node.tree, Tree::Scalar { .. }) {
            self.report_type(node, key, "string");
            return None;
        }
        let word = self.scalar(node)?;
        let found = parse(&word.text);
        if found.is_none() {
            if key.rules.iter().flatten().any(|rule| matches!(rule, Rule::Invalid { .. })) && !word.text.is_empty() {
                self.report_type(node, key, "string");
            } else {
                let list: Vec<&str> = words.iter().filter_map(|spellings| spellings.first().copied()).collect();
                self.report(node.span, NOT_LISTED, &word.text, &[("list", &list.join(", "))]);
            }
        }
        found
    }
}
