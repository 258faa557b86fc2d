//! `words!`: an enumeration of words. Letter case never matters; each variant may have several spellings.

/// Declares an enum with its spellings, the first of which is canonical, and makes it a `Value`.
macro_rules! words {
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
            const WORDS: &'static [&'static [&'static str]] = &[$(&[$($word),+]),+];

            /// The canonical word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => {
                        const SPELLINGS: &[&str] = &[$($word),+];
                        let [first, ..] = SPELLINGS else { return "" };
                        first
                    })+
                }
            }

            /// The meaning of a word, if it has one here.
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

        impl $crate::spec::Item for $name {}

        impl $crate::spec::Value for $name {
            fn kind() -> $crate::spec::Kind {
                $crate::spec::Kind::Words(Self::WORDS)
            }

            fn read(
                reader: &mut $crate::spec::Reader<'_>,
                node: &$crate::yaml::Node,
                key: &$crate::spec::Key,
                _base: Option<&Self>,
            ) -> Option<Self> {
                reader.word(node, key, Self::WORDS, Self::parse)
            }

            fn show(&self, _key: &$crate::spec::Key) -> $crate::yaml::emit::Shown {
                $crate::yaml::emit::Shown::Text(self.as_str().to_owned())
            }
        }
    };
}
pub(crate) use words;

use super::text::{Text, text};
use super::{Key, Reader, Rule};
use crate::yaml::{Node, Tree};

const NOT_LISTED: Text = text("invalid value '<v>': expected one of <list>");

/// The text that any word can be answered with.
pub(crate) const TEXTS: [Text; 1] = [NOT_LISTED];

impl Reader<'_> {
    /// Reads a word and finds its meaning, or says which words there are.
    pub(crate) fn word<T>(
        &mut self,
        node: &Node,
        key: &Key,
        words: &[&[&str]],
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !matches!(node.tree, Tree::Scalar { .. }) {
            self.mismatch(node, key, "string");
            return None;
        }
        let word = self.scalar(node)?;
        let found = parse(&word.text);
        if found.is_none() {
            if key.rules.iter().flatten().any(|rule| matches!(rule, Rule::Otherwise { .. })) && !word.text.is_empty() {
                self.mismatch(node, key, "string");
            } else {
                let list: Vec<&str> = words.iter().filter_map(|spellings| spellings.first().copied()).collect();
                self.report(node.place, NOT_LISTED, &word.text, &[("list", &list.join(", "))]);
            }
        }
        found
    }
}
