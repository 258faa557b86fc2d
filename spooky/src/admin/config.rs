//! The effective configuration as JSON, and checks of another one.

use serde_json::Value;
use spooky_config::{Config, PreflightMode, Problems, examine_text};
use spooky_control::Validation;

/// The name of the file in problems of a configuration that came in a request.
const BODY: &str = "request";

/// Returns the effective configuration. Secrets and user names in URLs are redacted.
pub(super) fn effective(config: &Config) -> Value {
    serde_json::from_str(&config.to_json()).unwrap_or_default()
}

/// Checks a configuration as `spooky check` does, except that ports are not tried: this process may have bound them.
pub(super) fn validate(text: &str) -> Validation {
    let problems = match examine_text(text, BODY, PreflightMode::Start) {
        Ok((_, problems)) | Err(problems) => problems,
    };
    Validation { is_valid: problems.errors() == 0, problems: problem_list(&problems) }
}

/// Returns problems as `check --json` prints them.
pub(crate) fn problem_list(problems: &Problems) -> Value {
    serde_json::from_str(&problems.json()).unwrap_or_default()
}
