//! The label `method`: registered methods only, so that clients cannot create series.

/// The methods of the IANA registry, most frequent first, and the label for all others.
const LABELS: [&str; 41] = [
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    OTHER,
];
const OTHER: &str = "OTHER";

/// Returns the number of a method, for [`label`].
pub(super) fn number(method: &[u8]) -> u32 {
    let last = LABELS.len() - 1;
    LABELS.iter().take(last).position(|label| label.as_bytes() == method).unwrap_or(last) as u32
}

/// Returns the label of a number.
pub(super) fn label(number: u32) -> &'static str {
    LABELS.get(number as usize).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_methods_have_a_label_of_their_own() {
        for (method, expected) in
            [("GET", "GET"), ("QUERY", "QUERY"), ("get", "OTHER"), ("", "OTHER"), ("OTHER", "OTHER"), ("BREW", "OTHER")]
        {
            assert_eq!(label(number(method.as_bytes())), expected, "{method}");
        }
    }
}
