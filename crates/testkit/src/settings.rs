//! Builds the configuration file of a test, as text, without types of the product.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::certs::Files;
use crate::port;

/// A builder of a configuration file.
#[derive(Debug, Clone)]
pub struct Settings {
    listen: SocketAddr,
    cert: PathBuf,
    key: PathBuf,
    tls: String,
    workers: usize,
    level: &'static str,
    protocol: &'static str,
    upstreams: String,
    performance: String,
    security: String,
    blocks: String,
}

/// Keeps privileges, because tests may run as root in containers and read keys from private folders.
const SECURITY: &str = "privileges: { enabled: false, allow_root: true }";

impl Settings {
    /// Creates a configuration with one listener on a free port, the certificate of `files`, one worker, log level `info` and
    /// no upstream.
    pub fn new(files: &Files) -> Self {
        Self {
            listen: port::free(),
            cert: files.cert.clone(),
            key: files.key.clone(),
            tls: String::new(),
            workers: 1,
            level: "info",
            protocol: "",
            upstreams: String::new(),
            performance: String::new(),
            security: SECURITY.to_owned(),
            blocks: String::new(),
        }
    }

    /// Returns the address of the listener.
    pub fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// Uses another certificate.
    #[must_use]
    pub fn certificate(mut self, cert: PathBuf, key: PathBuf) -> Self {
        (self.cert, self.key) = (cert, key);
        self
    }

    /// Adds keys to `listen.tls`, in the form of a flow mapping.
    #[must_use]
    pub fn tls(mut self, keys: &str) -> Self {
        self.tls.push_str(", ");
        self.tls.push_str(keys);
        self
    }

    /// Sets `performance.worker_threads`.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets `log.level`.
    #[must_use]
    pub fn level(mut self, level: &'static str) -> Self {
        self.level = level;
        self
    }

    /// Sets the `protocol` of the backends of upstreams that are added from now on.
    #[must_use]
    pub fn protocol(mut self, protocol: &'static str) -> Self {
        self.protocol = protocol;
        self
    }

    /// Adds an upstream for a path prefix with backends `b1`, `b2`, ... at these addresses.
    #[must_use]
    pub fn upstream(self, name: &str, prefix: &str, backends: &[String]) -> Self {
        self.upstream_with(name, prefix, backends, "")
    }

    /// As [`Settings::upstream`], with further lines of the upstream, not indented.
    #[must_use]
    pub fn upstream_with(mut self, name: &str, prefix: &str, backends: &[String], more: &str) -> Self {
        let text = &mut self.upstreams;
        let _ = writeln!(text, "  {name}:\n    route: {{ path_prefix: \"{prefix}\" }}\n    backends:");
        let protocol = if self.protocol.is_empty() { String::new() } else { format!("protocol: {}, ", self.protocol) };
        for (number, address) in backends.iter().enumerate() {
            let _ = writeln!(text, "      - {{ id: b{}, {protocol}address: \"{address}\" }}", number + 1);
        }
        text.push_str(&indent(more, 4));
        self
    }

    /// Adds lines to the `performance` block, not indented.
    #[must_use]
    pub fn performance(mut self, lines: &str) -> Self {
        self.performance.push_str(&indent(lines, 2));
        self
    }

    /// Replaces the lines of the `security` block, not indented.
    #[must_use]
    pub fn security(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.security);
        self
    }

    /// Adds a top-level block.
    #[must_use]
    pub fn block(mut self, text: &str) -> Self {
        self.blocks.push_str(text);
        self.blocks.push('\n');
        self
    }

    /// Returns the text of the file.
    pub fn text(&self) -> String {
        let Self { listen, tls, workers, level, upstreams, performance, blocks, .. } = self;
        let (cert, key, security) = (self.cert.display(), self.key.display(), indent(&self.security, 2));
        format!(
            "version: 1\n\
             listen:\n  address: \"{}\"\n  port: {}\n  tls: {{ cert: \"{cert}\", key: \"{key}\"{tls} }}\n\
             upstream:\n{upstreams}\
             log: {{ level: {level} }}\n\
             performance:\n  worker_threads: {workers}\n{performance}\
             security:\n{security}{blocks}",
            listen.ip(),
            listen.port(),
        )
    }

    /// Writes `spooky.yaml` beside the certificates.
    pub fn write(&self, files: &Files) -> PathBuf {
        let path = files.dir().join("spooky.yaml");
        std::fs::write(&path, self.text()).expect("write the configuration");
        path
    }
}

fn indent(lines: &str, spaces: usize) -> String {
    lines.lines().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{:spaces$}{line}", "");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Authority;

    #[test]
    fn blocks_land_where_they_belong() {
        let authority = Authority::new();
        let files = Files::write(&authority, &authority.issue(&["localhost"]));
        let backends = ["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
        let settings = Settings::new(&files)
            .upstream_with("api", "/api", &backends, "load_balancing: { type: random }")
            .block("resilience:\n  brownout: { enabled: false }")
            .performance("backend_timeout_ms: 300");
        let text = settings.text();
        let tail = "      - { id: b2, address: \"http://127.0.0.1:2\" }\n    load_balancing: { type: random }\n\
                    log: { level: info }\nperformance:\n  worker_threads: 1\n  backend_timeout_ms: 300\n\
                    security:\n  privileges: { enabled: false, allow_root: true }\nresilience:\n  brownout: { enabled: false }\n";
        assert!(text.ends_with(tail), "{text}");
        assert_eq!(std::fs::read_to_string(settings.write(&files)).unwrap(), text);
    }
}
