//! The text of the file as problems may show it: without secrets. Called by the loader.

use crate::yaml::Place;

/// The text with the characters at `places` replaced by `*`. A secret over several lines hides what follows on its
/// first line; no problem points at the others.
pub(crate) fn masked(text: &str, places: &[Place]) -> String {
    if places.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let here = |place: &&Place| usize::try_from(place.line).is_ok_and(|line| line == index.saturating_add(1));
        let places: Vec<&Place> = places.iter().filter(here).collect();
        if places.is_empty() {
            out.push_str(line);
            continue;
        }
        let hidden = |column: u32| {
            places.iter().any(|place| {
                column >= place.column && (place.length == 1 || column < place.column.saturating_add(place.length))
            })
        };
        let characters = (1_u32..).zip(line.chars());
        out.extend(characters.map(|(column, each)| if each != '\n' && hidden(column) { '*' } else { each }));
    }
    out
}

/// The text with everything after `auth_token` masked on each line: for texts that could not be parsed.
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
        let places = [Place { line: 2, column: 8, length: 4 }, Place { line: 3, column: 7, length: 1 }];
        assert_eq!(masked(text, &places), "a: 1\ntoken: **** # x\nlong: *\n  y\n");
        assert_eq!(
            without_tokens("x\n  auth_token: \"abc\nauth_token_file: p\n"),
            "x\n  auth_token******\nauth_token_file: p\n"
        );
    }
}
