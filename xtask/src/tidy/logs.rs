//! Compares the log messages in the sources with the tables of `docs/reference/logs.md`.
//!
//! Extracts the first string literal and the level of each `tracing::<level>!` and `limited!` call of the product, outside tests.
//! A placeholder is `{...}` in the sources and `<...>` on the page; the names may differ.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, Problem};

const PAGE: &str = "docs/reference/logs.md";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Files with a `Display` that writes whole messages, and the level at which these are logged.
const DISPLAYED: [(&str, &str); 1] = [("crates/edge/src/quic/drops.rs", "debug")];

/// Level and normalized text.
type Message = (String, String);

pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Problem { path: PAGE.to_owned(), line: 1, text: "the page is missing".to_owned() }];
    };
    let mut listed = BTreeMap::new();
    let mut problems = Vec::new();
    for (line, message) in page.lines().filter_map(|(line, text)| Some((line, row(text)?))) {
        if listed.insert(message.clone(), line).is_some() {
            problems.push(page.problem(line, format!("the message stands here twice: {}", shown(&message))));
        }
    }
    let mut logged = BTreeMap::new();
    for file in files.iter().filter(|file| is_checked(file)) {
        for (line, message) in messages(file) {
            logged.entry(message).or_insert((file, line));
        }
    }
    for (message, (file, line)) in &logged {
        if !listed.contains_key(message) {
            problems.push(file.problem(*line, format!("the message is not in {PAGE}: {}", shown(message))));
        }
    }
    for (message, line) in &listed {
        if !logged.contains_key(message) {
            problems.push(page.problem(*line, format!("nothing logs this message: {}", shown(message))));
        }
    }
    problems
}

fn is_checked(file: &File) -> bool {
    let is_test = file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    file.is_product() && !is_test
}

fn shown((level, text): &Message) -> String {
    format!("{level} `{text}`")
}

/// Returns the message of a table row: `| level | `text` | meaning |`.
fn row(line: &str) -> Option<Message> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let level = cells.next().filter(|cell| LEVELS.contains(cell))?;
    let text = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    Some((level.to_owned(), normalized(text, ['<', '>'])))
}

/// Replaces each placeholder by `<>`.
fn normalized(text: &str, [open, close]: [char; 2]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        out.push_str(before);
        out.push_str("<>");
        rest = after.split_once(close).map_or("", |(_, after)| after);
    }
    out + rest
}

fn messages(file: &File) -> Vec<(usize, Message)> {
    let Ok(tokens) = file.text.parse::<TokenStream>() else { return Vec::new() };
    let displayed = DISPLAYED.iter().find(|(path, _)| file.path == *path).map(|(_, level)| *level);
    let mut found = Vec::new();
    collect(tokens, displayed, &mut found);
    found
}

/// Collects the messages of all calls in the tokens. `displayed` is the level of messages written by `write!`.
fn collect(tokens: TokenStream, displayed: Option<&str>, found: &mut Vec<(usize, Message)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut skipping = false;
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        if group.delimiter() == Delimiter::Bracket && group.stream().to_string().replace(' ', "") == "cfg(test)" {
            skipping = true;
            continue;
        }
        if std::mem::take(&mut skipping) {
            continue;
        }
        let before = tokens.get(..at).unwrap_or_default();
        if let Some(level) = level_of(before, &group.stream(), displayed)
            && let Some((line, text)) = literal(&group.stream())
        {
            let text = normalized(&text.replace("{{", "(").replace("}}", ")"), ['{', '}']);
            // Parts of a message begin with a placeholder or punctuation.
            if displayed.is_none() || text.starts_with(char::is_uppercase) {
                found.push((line, (level, text)));
            }
        }
        collect(group.stream(), displayed, found);
    }
}

/// Returns the level of the log call whose arguments follow `before`, if it is one.
fn level_of(before: &[TokenTree], arguments: &TokenStream, displayed: Option<&str>) -> Option<String> {
    let [.., name, bang] = before else { return None };
    if bang.to_string() != "!" {
        return None;
    }
    let name = name.to_string();
    let path: String = before.iter().rev().skip(2).take(3).map(ToString::to_string).collect();
    match name.as_str() {
        "limited" => arguments.clone().into_iter().next().map(|level| level.to_string().to_lowercase()),
        "write" => displayed.map(str::to_owned),
        level if LEVELS.contains(&level) && path == "::tracing" && displayed.is_none() => Some(level.to_owned()),
        _ => None,
    }
}

/// Returns the first string literal of the arguments with its line, without that of `target: "..."`.
fn literal(arguments: &TokenStream) -> Option<(usize, String)> {
    let mut is_named = false;
    arguments.clone().into_iter().find_map(|token| {
        let after_colon = std::mem::replace(&mut is_named, token.to_string() == ":");
        let TokenTree::Literal(literal) = token else { return None };
        if after_colon {
            return None;
        }
        let text = syn::parse_str::<syn::LitStr>(&literal.to_string()).ok()?;
        Some((literal.span().start().line, text.value()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    const CODE: &str = "
        fn f() {
            tokio::select! { () = g() => { tracing::warn!(\"Lost {} \\
                of {all}\", a); } }
            limited!(INFO, now, \"Found {x:?}\", x = h(\"no message\"));
            tracing::debug!(\"twice\"); tracing::debug!(target: \"part\", \"twice\");
        }
        #[cfg(test)]
        mod tests { fn t() { tracing::error!(\"in a test\"); } }
    ";
    const ROWS: &str = "| level | message | meaning |\n|---|---|---|\n| warn | `Lost <n> of <m>` | a |\n\
                        | info | `Found <what>` | b |\n| debug | `twice` | c |\n";

    fn problems(code: &str, page: &str) -> Vec<String> {
        let files = [sample("spooky/src/a.rs", code), sample(PAGE, page)];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_page_that_lists_every_message_passes() {
        assert_eq!(problems(CODE, ROWS), [""; 0]);
        let elsewhere = [sample("crates/testkit/src/a.rs", CODE), sample("crates/lb/src/b/tests.rs", CODE)];
        assert!(!elsewhere.iter().any(is_checked));
        assert_eq!(check(&elsewhere).len(), 1, "the page is missing");
    }

    #[test]
    fn a_message_that_is_not_listed_is_found() {
        let without = ROWS.replace("| info |", "| warn |");
        let expected = [
            "docs/reference/logs.md:4: nothing logs this message: warn `Found <>`",
            "spooky/src/a.rs:5: the message is not in docs/reference/logs.md: info `Found <>`",
        ];
        let mut found = problems(CODE, &without);
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_message_that_nothing_logs_is_found() {
        let more = format!("{ROWS}| debug | `gone` | d |\n| debug | `twice` | c |\n");
        assert_eq!(problems(CODE, &more).len(), 2, "one is gone, one stands there twice");
    }

    #[test]
    fn messages_of_a_display_are_found() {
        let (path, level) = DISPLAYED[0];
        let text = "impl Display for Line { fn fmt() { write!(out, \"Dropped {x}\"); write!(out, \"{b:02x}\") } }";
        let found: Vec<_> = messages(&sample(path, text)).into_iter().map(|(_, message)| message).collect();
        assert_eq!(found, [(level.to_owned(), "Dropped <>".to_owned())]);
        assert_eq!(messages(&sample("crates/edge/src/a.rs", text)), []);
    }
}
