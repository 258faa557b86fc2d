//! Hides user names and passwords in URLs: whatever stands between `://` and `@` (RFC 3986 section 3.2.1).

use std::borrow::Cow;
use std::ops::Range;

/// Replaces the user information of every URL in the text by `<redacted>`.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    replaced(text, |_| "<redacted>".to_owned())
}

/// Replaces each of its characters by `*`, so that columns stay.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    replaced(text, |hidden| "*".repeat(hidden.chars().count()))
}

fn replaced(text: &str, replacement: impl Fn(&str) -> String) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, hidden, after)) = first(rest).and_then(|range| split(rest, range)) {
        out.push_str(before);
        out.push_str(&replacement(hidden));
        rest = after;
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn split(text: &str, range: Range<usize>) -> Option<(&str, &str, &str)> {
    Some((text.get(..range.start)?, text.get(range.clone())?, text.get(range.end..)?))
}

/// Returns where the first user information is.
fn first(text: &str) -> Option<Range<usize>> {
    text.match_indices("://").find_map(|(at, scheme_end)| {
        let start = at.saturating_add(scheme_end.len());
        let rest = text.get(start..)?;
        let end = rest.find(|each: char| matches!(each, '/' | '?' | '#') || each.is_whitespace());
        let length = rest.get(..end.unwrap_or(rest.len()))?.rfind('@')?;
        Some(start..start.saturating_add(length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_is_hidden_in_urls_only() {
        for (text, expected) in [
            ("http://u:p@collector:4317/x@y", "http://<redacted>@collector:4317/x@y"),
            ("http://u@p@collector", "http://<redacted>@collector"),
            ("http://collector/x@y", "http://collector/x@y"),
            ("http://collector?x=a@b", "http://collector?x=a@b"),
            ("http://a b@c", "http://a b@c"),
            ("from \"http://u:é@a/\" to \"http://v@b/\"", "from \"http://<redacted>@a/\" to \"http://<redacted>@b/\""),
            ("a://b://u@c", "a://b://<redacted>@c"),
            ("admin@example", "admin@example"),
            ("://@", "://<redacted>@"),
        ] {
            assert_eq!(without_userinfo(text), expected, "{text}");
        }
        assert_eq!(masked("- \"https://u:é@h\" # x"), "- \"https://***@h\" # x");
    }
}
