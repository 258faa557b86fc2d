//! What must hold of any bytes given as a configuration file. Shared by the fuzz target and by the replay in `cargo test`.

use spooky_config::{diff, parse};

/// Any text is a configuration or has problems inside it; a configuration survives being written out.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let env = |name: &str| (name.len() < 4).then(|| format!("<{name}>"));
    match parse(text, "fuzz", &env) {
        Ok(loaded) => {
            let written = loaded.config.to_yaml();
            if loaded.config.observability.control_api.auth_token.is_some() {
                return; // A secret is not written out.
            }
            let again = parse(&written, "again", &|_| None);
            let again = again.unwrap_or_else(|problems| panic!("{problems}\n{written}")).config;
            assert!(again == loaded.config, "{:?}\n{written}", diff(&loaded.config, &again));
        }
        Err(problems) => {
            assert!(problems.errors() > 0);
            let spans: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
            assert!(spans.is_sorted(), "{problems}");
            assert!(problems.iter().all(|problem| !problem.message.is_empty() && problem.line > 0));
            assert!(!problems.terminal(true).is_empty() && problems.json().starts_with('['));
        }
    }
}
