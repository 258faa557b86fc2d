//! Writes the effective configuration: every key present, every default filled in, secrets as `<redacted>`.

use crate::file::config::Config;
use crate::load::parse;
use crate::spec::{ConfigValue, Key};
use crate::yaml::emit::Value;

/// Smallest valid file.
const SMALLEST: &str = "\
listen: { tls: { cert: certs/cert.pem, key: certs/key.pem } }
upstream:
  default:
    route: { path_prefix: / }
    backends: [ { id: backend1, address: \"127.0.0.1:8080\", health_check: {} } ]
";

impl Config {
    /// Returns a YAML document that loads to the same configuration, except for secrets.
    pub fn to_yaml(&self) -> String {
        self.effective_value().document()
    }

    /// Returns the same as a JSON object.
    pub fn to_json(&self) -> String {
        self.effective_value().json()
    }

    /// Returns the configuration as data. If `listen` is set, `listeners` is empty, because it only holds a copy of `listen`.
    pub(crate) fn effective_value(&self) -> Value {
        let mut shown = self.to_value(&Key::NONE);
        if let (Some(_), Value::Map(entries)) = (&self.listen, &mut shown) {
            for (_, value) in entries.iter_mut().filter(|(name, _)| name == "listeners") {
                *value = Value::List(Vec::new());
            }
        }
        shown
    }
}

/// Returns the configuration of a minimal file with one backend and its health check. Ignores the environment.
pub fn default_config() -> Config {
    parse(SMALLEST, "defaults", &|_| None).map(|loaded| loaded.config).unwrap_or_default()
}

/// Returns the effective configuration of a minimal file with one backend and its health check. Ignores the environment.
pub fn defaults() -> String {
    match parse(SMALLEST, "defaults", &|_| None) {
        Ok(loaded) => loaded.config.to_yaml(),
        Err(problems) => problems.plain(),
    }
}
