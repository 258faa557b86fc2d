//! Unit tests of the demo. The integration tests run the whole demo.

use super::{Failure, HOST, Identity, Reply, answer, configuration, curl_commands, quoted, scalar, serve};
use std::{net::UdpSocket, os::unix::fs::PermissionsExt, path::Path};

fn backend() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

#[test]
fn the_files_are_private_and_go() {
    let identity = Identity::new(HOST).unwrap();
    let directory = identity.cert.parent().unwrap().to_owned();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&identity.key), 0o600);
    drop(identity);
    assert!(!directory.exists());
}

#[test]
fn the_configuration_is_accepted_without_a_warning() {
    let identity = Identity::new(HOST).unwrap();
    let config = configuration(9889, backend(), &identity).unwrap();
    let listener = &config.listeners[0];
    assert_eq!((listener.address.as_str(), listener.port), ("127.0.0.1", 9889));
    assert_eq!(listener.tls.cert.as_deref(), Some(identity.cert.as_path()));
    assert_eq!(listener.tls.key.as_deref(), Some(identity.key.as_path()));
}

#[test]
fn paths_survive_yaml_and_shell() {
    assert_eq!(scalar(Path::new("/t/it's ${HOME}")), "'/t/it''s $${HOME}'");
    assert_eq!(quoted("/tmp/spooky-demo-1f/cert.pem"), "/tmp/spooky-demo-1f/cert.pem");
    assert_eq!(quoted("/t/it's here"), r"'/t/it'\''s here'");
}

#[test]
fn a_busy_port_is_told_with_the_option_that_helps() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let identity = Identity::new(HOST).unwrap();
    let failure = serve(port, backend(), &identity).err().unwrap();
    assert!(matches!(failure, Failure::PortInUse(busy) if busy == port), "{failure}");
    let text = failure.to_string();
    assert!(text.starts_with(&format!("error: port {port} on 127.0.0.1 is in use\n    hint: ")), "{text}");
    assert!(text.contains("--port"), "{text}");
}

#[test]
fn the_curl_commands_name_the_certificate_and_both_paths() {
    let identity = Identity::new(HOST).unwrap();
    let text = curl_commands(4433, &identity);
    let cert = identity.cert.display();
    let curl =
        format!("curl --http3-only --cacert {cert} --resolve localhost:4433:127.0.0.1 https://localhost:4433/\n");
    assert!(text.contains(&curl), "{text}");
    assert!(
        text.contains("curl --http3-only -k --resolve localhost:4433:127.0.0.1 https://localhost:4433/\n"),
        "{text}"
    );
    assert!(text.contains("https://localhost:4433/echo\n"), "{text}");
}

#[test]
fn an_answer_is_shown_with_status_fields_and_body() {
    let fields = [("via", "2 spooky"), ("content-type", "text/plain")];
    let reply = Reply {
        status: http::StatusCode::OK,
        fields: fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect(),
        body: bytes::Bytes::from_static(b"Hello\n\n:path\n"),
        took: std::time::Duration::from_micros(1500),
    };
    let text = answer(&reply);
    assert!(text.starts_with("  HTTP/3 200 OK in 1.5 ms, handshake included\n"), "{text}");
    assert!(text.contains("\n  via: 2 spooky\n") && text.contains("\n  content-type: text/plain\n"), "{text}");
    assert!(text.ends_with("\n  | Hello\n  | \n  | :path\n"), "{text}");
}
