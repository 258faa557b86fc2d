//! Checks that the ports can be bound, by binding each one and closing it at once. For `check` only.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

use super::{Preflight, os_text, texts};
use crate::spec::Text;

impl Preflight<'_> {
    pub(super) fn check_ports(&mut self) {
        let config = &self.loaded.config;
        for listener in &config.listeners {
            let path = format!("{}.port", listener.key);
            let at = (listener.address.as_str(), listener.port);
            let udp = refused(at, UdpSocket::bind);
            let busy = udp.as_ref().is_some_and(|error| error.kind() == ErrorKind::AddrInUse);
            self.report_bind(&path, at, udp, texts::UDP_BIND);
            // A busy port causes one warning, not one for each protocol.
            if listener.tcp.enabled && !busy {
                let text = if listener.tcp.required { texts::TCP_BIND } else { texts::TCP_BIND.warning() };
                self.report_bind(&path, at, refused(at, TcpListener::bind), text);
            }
            if listener.http_redirect.enabled {
                let redirect = &listener.http_redirect;
                let at = (redirect.address.as_str(), redirect.port);
                let path = format!("{}.http_redirect.port", listener.key);
                self.report_bind(&path, at, refused(at, TcpListener::bind), texts::TCP_BIND);
            }
        }
        let (metrics, control) = (&config.observability.metrics, &config.observability.control_api);
        for (enabled, required, name, address, port, text) in [
            (metrics.enabled, metrics.required, "metrics", &metrics.address, metrics.port, texts::METRICS_BIND),
            (control.enabled, control.required, "control_api", &control.address, control.port, texts::CONTROL_BIND),
        ] {
            if enabled {
                let at = (address.as_str(), port);
                let text = if required { text } else { text.warning() };
                self.report_bind(&format!("observability.{name}.port"), at, refused(at, TcpListener::bind), text);
            }
        }
    }

    fn report_bind(&mut self, path: &str, (address, port): (&str, u16), error: Option<Error>, text: Text) {
        let Some(error) = error else { return };
        let port = port.to_string();
        let text = match error.kind() {
            ErrorKind::AddrInUse => texts::PORT_BUSY,
            // The service may run as a user that may bind it.
            ErrorKind::PermissionDenied => text.warning().hint(texts::PRIVILEGED_PORT),
            _ => text,
        };
        self.report(path, text, &[("p", &port), ("a", address), ("reason", &os_text(&error))]);
    }
}

/// Returns the error of binding the first address that the name resolves to, which is the one that a start binds.
fn refused<S>((address, port): (&str, u16), bind: fn(SocketAddr) -> std::io::Result<S>) -> Option<Error> {
    let resolved = (address, port)
        .to_socket_addrs()
        .and_then(|mut found| found.next().ok_or_else(|| Error::new(ErrorKind::NotFound, "the name has no address")));
    resolved.and_then(bind).err()
}

#[cfg(test)]
mod tests {
    use crate::preflight::{PreflightMode, preflight};
    use crate::problem::Severity;

    #[test]
    fn a_busy_port_is_one_warning_and_nothing_stays_bound() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = format!(
            "listen: {{ address: 127.0.0.1, port: {port}, tls: {{ cert: c, key: k }} }}\n\
             upstream: {{ a: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}"
        );
        let loaded = crate::parse(&text, "f", &|_| None).unwrap();
        let ports = |mode| {
            let problems = preflight(&loaded, mode);
            let ports = problems.into_iter().filter(|problem| problem.path == "listen.port");
            ports.map(|problem| (problem.severity, problem.message)).collect::<Vec<_>>()
        };
        let expected = format!("port {port} on 127.0.0.1 is in use");
        assert_eq!(ports(PreflightMode::Check), [(Severity::Warning, expected)]);
        assert_eq!(ports(PreflightMode::Start), []);
        drop(taken);
        assert_eq!(ports(PreflightMode::Check), []);
        std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn of_a_name_with_several_addresses_the_one_that_a_start_takes_is_tried() {
        use std::net::{ToSocketAddrs, UdpSocket};
        let Some(first) = ("localhost", 0).to_socket_addrs().ok().and_then(|mut found| found.next()) else {
            return eprintln!("skipped: localhost has no address here");
        };
        let taken = UdpSocket::bind(first).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(
            super::refused(("localhost", port), UdpSocket::bind).map(|error| error.kind()),
            Some(std::io::ErrorKind::AddrInUse)
        );
        drop(taken);
        assert!(super::refused(("localhost", port), UdpSocket::bind).is_none());
    }

    #[test]
    fn an_address_of_another_host_has_a_text_for_each_socket() {
        // 192.0.2.0/24 is nobody's (RFC 5737), so each bind fails, and sends nothing.
        let text = "listen: { address: 192.0.2.1, port: 4433, tcp: { required: true }, tls: { cert: c, key: k } }\n\
                    upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] } }\n\
                    observability: { metrics: { enabled: true, required: true, address: 192.0.2.1 }, \
                    control_api: { enabled: true, address: 192.0.2.1, auth_token: x } }";
        let loaded = crate::parse(text, "f", &|_| None).unwrap();
        let problems =
            preflight(&loaded, PreflightMode::Check).into_iter().filter(|problem| problem.path.contains(".port"));
        let found: Vec<_> = problems.map(|problem| (problem.severity, problem.path, problem.message)).collect();
        let reason = "Cannot assign requested address";
        for (severity, path, text) in [
            (Severity::Error, "listen.port", "Failed to bind UDP socket 192.0.2.1:4433"),
            (Severity::Error, "listen.port", "Failed to bind TCP socket 192.0.2.1:4433"),
            (Severity::Error, "observability.metrics.port", "failed to bind metrics endpoint 192.0.2.1:9901"),
            (Severity::Warning, "observability.control_api.port", "failed to bind control API endpoint 192.0.2.1:9902"),
        ] {
            let expected = (severity, path.to_owned(), format!("{text}: {reason}"));
            assert!(found.contains(&expected), "{expected:?}\n{found:?}");
        }
        assert_eq!(found.len(), 4);
    }
}
