//! The effective configuration as JSON, and checks of another one.

use serde_json::Value;
use spooky_config::{Config, PreflightMode, Problems, examine_text};
use spooky_control::Validation;

/// The name of the file in problems of a configuration that came in a request.
const BODY: &str = "request";
const REDACTED: &str = "<redacted>";

/// Returns the effective configuration. Secrets and user names in URLs are redacted.
pub(super) fn effective(config: &Config) -> Value {
    let mut value = serde_json::from_str(&config.to_json()).unwrap_or_default();
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(redacted) = without_userinfo(text) {
                *text = redacted;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(entries) => entries.values_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a URL with redacted user information; `None` if it has none.
fn without_userinfo(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let (_, host) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://{REDACTED}@{host}{path}"))
}

/// Checks a configuration as `spooky check` does, except that ports are not tried: this process may have bound them.
pub(super) fn validate(text: &str) -> Validation {
    let problems = match examine_text(text, BODY, PreflightMode::Start) {
        Ok((loaded, problems)) => problems.and(loaded.not_in_effect()),
        Err(problems) => problems,
    };
    Validation { is_valid: problems.errors() == 0, problems: problem_list(&problems) }
}

/// Returns problems as `check --json` prints them.
pub(crate) fn problem_list(problems: &Problems) -> Value {
    serde_json::from_str(&problems.json()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_is_redacted_in_urls_only() {
        for (text, expected) in [
            ("http://u:p@collector:4317/x@y", Some("http://<redacted>@collector:4317/x@y")),
            ("http://u@p@collector", Some("http://<redacted>@collector")),
            ("http://collector/x@y", None),
            ("http://collector?x=a@b", None),
            ("admin@example", None),
        ] {
            assert_eq!(without_userinfo(text).as_deref(), expected, "{text}");
        }
    }
}
