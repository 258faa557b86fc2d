//! Hides the values of environment variables in problems that go to whoever sent the text: the variables are those of this
//! process, and may be secrets.

use crate::problem::Problems;

/// Shorter values are no secrets, and would occur in messages by chance.
const SHORTEST: usize = 4;

/// A variable that the text names, with its value.
pub(crate) type Variable = (String, String);

impl Problems {
    /// Replaces the values of variables in all messages, and words that are parts of them, by `${NAME}`.
    #[must_use]
    pub(crate) fn without(mut self, variables: &[Variable]) -> Self {
        self.edit(|problem| {
            problem.message = hidden(&problem.message, variables);
            problem.hint = problem.hint.take().map(|hint| hidden(&hint, variables));
        });
        self
    }
}

fn hidden(text: &str, variables: &[Variable]) -> String {
    variables.iter().filter(|(_, value)| value.trim().len() >= SHORTEST).fold(text.to_owned(), |text, (name, value)| {
        let name = format!("${{{name}}}");
        words_hidden(&text.replace(value.trim(), &name), &value.to_lowercase(), &name)
    })
}

/// Messages may quote a part of a value, such as a host, also in lower case or cut off.
fn words_hidden(text: &str, value: &str, name: &str) -> String {
    let is_between = |each: char| each.is_whitespace() || matches!(each, '\'' | '"' | '(' | ')' | ',' | '\u{2026}');
    text.split_inclusive(is_between)
        .map(|piece| {
            let word = piece.trim_end_matches(is_between);
            let is_part = word.len() >= SHORTEST && value.contains(&word.to_lowercase());
            if is_part { piece.replacen(word, name, 1) } else { piece.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_parts_of_them_are_hidden() {
        let variables = [("TOKEN".to_owned(), "Hunter2 and:more".to_owned()), ("SHORT".to_owned(), "80".to_owned())];
        for (text, expected) in [
            ("Invalid log level: Hunter2 and:more", "Invalid log level: ${TOKEN}"),
            ("host 'hunter2', 'Hunter2\u{2026}' of 80", "host '${TOKEN}', '${TOKEN}\u{2026}' of 80"),
            ("port must be between 1 and 65535", "port must be between 1 and 65535"),
        ] {
            assert_eq!(hidden(text, &variables), expected);
        }
    }
}
