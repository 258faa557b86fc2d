//! Masks secrets in the source text, which problems quote.

use crate::yaml::Span;

/// Replaces the characters at `spans` by `*`. A secret over several lines hides the rest of its first line; no problem
/// quotes the other lines.
pub(crate) fn masked(text: &str, spans: &[Span]) -> String {
    if spans.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let here = |span: &&Span| usize::try_from(span.line).is_ok_and(|line| line == index.saturating_add(1));
        let spans: Vec<&Span> = spans.iter().filter(here).collect();
        if spans.is_empty() {
            out.push_str(line);
            continue;
        }
        let hidden = |column: u32| {
            spans.iter().any(|span| {
                column >= span.column && (span.length == 1 || column < span.column.saturating_add(span.length))
            })
        };
        let characters = (1_u32..).zip(line.chars());
        out.extend(characters.map(|(column, each)| if each != '\n' && hidden(column) { '*' } else { each }));
    }
    out
}

/// Masks everything after `auth_token` on each line. Used for text that could not be parsed.
pub(crate) fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.split_once("auth_token").filter(|(_, rest)| !rest.starts_with("_file")) {
            Some((before, rest)) => {
                out.push_str(before);
                out.push_str("auth_token");
                out.extend(rest.chars().map(|each| if each == '\n' { each } else { '*' }));
            }
            None => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_columns_stay() {
        let text = "a: 1\ntoken: \"hé\" # x\nlong: |\n  y\n";
        let spans = [Span { line: 2, column: 8, length: 4 }, Span { line: 3, column: 7, length: 1 }];
        assert_eq!(masked(text, &spans), "a: 1\ntoken: **** # x\nlong: *\n  y\n");
        assert_eq!(
            without_tokens("x\n  auth_token: \"abc\nauth_token_file: p\n"),
            "x\n  auth_token******\nauth_token_file: p\n"
        );
    }
}
