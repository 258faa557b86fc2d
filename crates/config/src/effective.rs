//! The configuration in effect, as text: every key present, every default filled in, secrets as `<redacted>`.

use crate::file::config::Config;
use crate::load::parse;
use crate::spec::{Key, Value};
use crate::yaml::emit::Shown;

/// The smallest file that serves.
const SMALLEST: &str = "\
listen: { tls: { cert: certs/cert.pem, key: certs/key.pem } }
upstream:
  default:
    route: { path_prefix: / }
    backends: [ { id: backend1, address: \"127.0.0.1:8080\", health_check: {} } ]
";

impl Config {
    /// As a YAML document that loads back to the same configuration, secrets aside.
    pub fn to_yaml(&self) -> String {
        self.shown().document()
    }

    /// As data. `listen` stands for itself and not among `listeners` once more.
    pub(crate) fn shown(&self) -> Shown {
        let mut shown = self.show(&Key::NONE);
        if let (Some(_), Shown::Map(entries)) = (&self.listen, &mut shown) {
            for (_, value) in entries.iter_mut().filter(|(name, _)| name == "listeners") {
                *value = Shown::List(Vec::new());
            }
        }
        shown
    }
}

/// What a file gets that says as little as possible, with one probed backend. Does not look at the environment.
pub fn defaults() -> String {
    match parse(SMALLEST, "defaults", &|_| None) {
        Ok(loaded) => loaded.config.to_yaml(),
        Err(problems) => problems.plain(),
    }
}
