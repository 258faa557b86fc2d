//! The command line: outputs and exit codes.

use spooky_testkit::{
    certs::{Authority, Files},
    port, wait,
};
use std::{path::Path, process::Output};

use crate::proxy::Proxy;

/// Runs the program to its end.
async fn spooky(arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_spooky"));
    command.args(arguments).env_remove("RUST_LOG").kill_on_drop(true);
    wait::within(&format!("spooky {arguments:?} to end"), command.output()).await.unwrap()
}

fn result(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Writes a file in a new directory.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (directory, path)
}

fn certificate() -> Files {
    let authority = Authority::new();
    Files::write(&authority, &authority.issue(&["localhost"]))
}

/// Writes a configuration with one error: a weight of 0, at line 6, column 68.
fn wrong_weight(port: u16, cert: &Path, key: &Path) -> (tempfile::TempDir, String) {
    file(&format!(
        "version: 1
listen: {{ address: 127.0.0.1, port: {port}, tls: {{ cert: {}, key: {} }} }}
upstream:
  api:
    route: {{ path_prefix: / }}
    backends: [ {{ id: backend1, address: \"127.0.0.1:8080\", weight: 0 }} ]
security: {{ privileges: {{ enabled: false, allow_root: true }} }}
",
        cert.display(),
        key.display()
    ))
}

#[tokio::test]
async fn a_bad_file_is_one_message_with_its_place_and_nothing_is_bound() {
    let addr = port::free();
    let leaf = certificate();
    let (_directory, path) = wrong_weight(addr.port(), &leaf.cert, &leaf.key);
    // An attempt to bind would fail with another error.
    let _udp = std::net::UdpSocket::bind(addr).unwrap();
    let _tcp = std::net::TcpListener::bind(addr).unwrap();
    for arguments in
        [&["check", "--config", &path][..], &["-c", &path, "--check"], &["--config", &path], &["run", "-c", &path]]
    {
        let output = spooky(arguments).await;
        let (code, out, err) = result(&output);
        assert_eq!((code, out), (Some(1), ""), "{arguments:?}: {err}");
        let lines: Vec<_> = err.lines().collect();
        let problem = format!("{path}:6:68: error: upstream.api.backends[0].weight: ");
        assert!(lines[0].starts_with(&problem), "{arguments:?}: {err}");
        let verdict = format!("Configuration validation failed: 1 error(s) in {path}");
        assert_eq!(lines.last(), Some(&verdict.as_str()), "{arguments:?}: {err}");
        let rest = &lines[1..lines.len() - 1];
        assert!(rest.iter().all(|line| line.starts_with("    hint: ")), "{arguments:?}: {err}");
        assert!(!err.contains('\u{1b}'), "colours into a pipe: {err}");
    }
}

#[tokio::test]
async fn mistakes_in_the_file_and_in_what_it_points_to_are_told_together() {
    let leaf = certificate();
    let missing = leaf.dir().join("missing.pem");
    let (_directory, path) = wrong_weight(port::free().port(), &leaf.cert, &missing);
    for arguments in [&["check", "--config", &path][..], &["--config", &path]] {
        let output = spooky(arguments).await;
        let (code, out, err) = result(&output);
        assert_eq!((code, out), (Some(1), ""), "{arguments:?}: {err}");
        let problems: Vec<_> = err.lines().filter(|line| line.contains(": error: ")).collect();
        let [key, weight] = problems[..] else { panic!("{arguments:?}: {err}") };
        let text = format!("listen.tls.key: TLS private key file does not exist: {}", missing.display());
        assert!(key.starts_with(&format!("{path}:2:")) && key.ends_with(&text), "{arguments:?}: {err}");
        assert!(weight.starts_with(&format!("{path}:6:68: ")), "{arguments:?}: {err}");
        assert!(err.ends_with(&format!("Configuration validation failed: 2 error(s) in {path}\n")), "{err}");
    }
}

#[tokio::test]
async fn json_is_all_there_is() {
    let leaf = certificate();
    let (_directory, path) = wrong_weight(port::free().port(), &leaf.cert, &leaf.key);
    let output = spooky(&["check", "--json", "--config", &path]).await;
    let (code, out, err) = result(&output);
    assert_eq!((code, err), (Some(1), ""));
    assert!(out.starts_with('[') && out.ends_with("]\n"), "{out}");
    for part in ["\"severity\"", "\"error\"", "\"line\"", "\"config_invalid\"", "upstream.api.backends[0].weight"] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[tokio::test]
async fn a_check_warns_of_stars_and_says_how_to_decrypt_a_key() {
    let leaf = certificate();
    let text = |key: &Path| {
        format!(
            "listen: {{ address: 127.0.0.1, port: {}, tls: {{ cert: {}, key: {} }} }}
upstream: {{ api: {{ route: {{ path_prefix: /api/* }}, backends: [ {{ id: a, address: \"https://127.0.0.1:8080\" }} ] }} }}
resilience: {{ protocol: {{ denied_path_prefixes: [ /admin/* ] }} }}
security: {{ privileges: {{ enabled: false, allow_root: true }} }}
",
            port::free().port(),
            leaf.cert.display(),
            key.display()
        )
    };
    let (_directory, path) = file(&text(&leaf.key));
    let output = spooky(&["check", "--config", &path]).await;
    let (code, _, err) = result(&output);
    assert_eq!(code, Some(0), "{err}");
    for (key, name, hint) in [
        ("upstream.api.route.path_prefix", "path_prefix", "/api/"),
        ("resilience.protocol.denied_path_prefixes[0]", "denied_path_prefixes", "/admin/"),
    ] {
        let text = format!("warning: {key}: {name} is literal; '*' has no meaning here\n    hint: {hint}\n");
        assert!(err.contains(&text), "{err}");
    }

    let encrypted = leaf.dir().join("encrypted.pem");
    let block =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBK\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(&encrypted, block).unwrap();
    let (_directory, path) = file(&text(&encrypted));
    let output = spooky(&["check", "--config", &path]).await;
    let (code, _, err) = result(&output);
    let key = encrypted.display();
    let told = format!(
        "Failed to load key '{key}': the key is encrypted\n    hint: write it without a pass phrase: openssl pkey -in '{key}'"
    );
    assert!(code == Some(1) && err.contains(&told), "{err}");
}

#[tokio::test]
async fn a_file_that_is_right_passes_and_what_it_names_is_looked_at() {
    let leaf = certificate();
    let port = port::free().port();
    let text = |cert: &Path| {
        format!(
            "listen: {{ address: 127.0.0.1, port: {port}, tls: {{ cert: {}, key: {} }} }}
upstream: {{ api: {{ route: {{ path_prefix: / }}, backends: [ {{ id: a, address: \"https://127.0.0.1:8080\" }} ] }} }}
security: {{ privileges: {{ enabled: false, allow_root: true }} }}
",
            cert.display(),
            leaf.key.display()
        )
    };
    let (_directory, path) = file(&text(&leaf.cert));
    let output = spooky(&["check", "--config", &path]).await;
    let (code, out, err) = result(&output);
    assert_eq!((code, out), (Some(0), "Configuration validation passed successfully\n"), "{err}");
    assert_eq!(result(&spooky(&["check", "--json", "--config", &path]).await).0, Some(0));

    let missing = leaf.dir().join("missing.pem");
    let (_directory, path) = file(&text(&missing));
    for arguments in [&["check", "--config", &path][..], &["--config", &path]] {
        let output = spooky(arguments).await;
        let (code, out, err) = result(&output);
        assert_eq!((code, out), (Some(1), ""), "{arguments:?}: {err}");
        let problem = format!("TLS certificate file does not exist: {}", missing.display());
        assert!(err.starts_with(&format!("{path}:1:")) && err.contains(&problem), "{arguments:?}: {err}");
    }
}

#[tokio::test]
async fn without_a_file_there_is_the_default_one_or_wrong_usage() {
    let default = "/etc/spooky/config.yaml";
    if Path::new(default).exists() {
        eprintln!("skipped: {default} exists on this machine");
        return;
    }
    let text = "no --config provided and default config '/etc/spooky/config.yaml' was not found.\n";
    for arguments in [&[][..], &["run"], &["check"], &["--check"]] {
        assert_eq!(result(&spooky(arguments).await), (Some(2), "", text), "{arguments:?}");
    }
    let output = spooky(&["--no-such-option"]).await;
    let (code, out, err) = result(&output);
    assert_eq!((code, out), (Some(2), ""));
    assert!(err.contains("--no-such-option"), "{err}");
}

#[tokio::test]
async fn the_printing_commands_print() {
    let version = format!("spooky {}\n", env!("CARGO_PKG_VERSION"));
    let full = spooky(&["version"]).await;
    for argument in ["--version", "-V"] {
        assert_eq!(result(&spooky(&[argument]).await), result(&full), "{argument}");
    }
    let (_directory, path) = file(
        "listen: { port: 4433, tls: { cert: c, key: k } }\nupstream: { api: { route: { path_prefix: / }, backends: [ { id: a, address: \"https://h:1\" } ] } }\n",
    );
    for (arguments, start, part) in [
        (&["version"][..], version.as_str(), "\ncommit: "),
        (&["schema"], "{", "https://json-schema.org/draft/2020-12/schema"),
        (&["defaults"], "version: 1", "port: 9889"),
        (&["defaults", "--config", &path], "version: 1", "port: 4433"),
        (&["completions", "bash"], "_spooky", "complete "),
        (&["--help"], "HTTP/3 edge reverse proxy", "demo"),
    ] {
        let output = spooky(arguments).await;
        let (code, out, err) = result(&output);
        assert_eq!((code, err), (Some(0), ""), "{arguments:?}");
        assert!(out.starts_with(start) && out.contains(part) && out.ends_with('\n'), "{arguments:?}: {out}");
    }
}

#[tokio::test]
async fn a_check_beside_a_running_spooky_warns_of_its_port() {
    let proxy = Proxy::before(&["https://127.0.0.1:1".to_owned()]).await;
    let (_directory, path) = file(&proxy.settings.text());
    let output = spooky(&["check", "--config", &path]).await;
    let (code, out, err) = result(&output);
    assert_eq!((code, out), (Some(0), "Configuration validation passed successfully\n"), "{err}");
    // Workers share their port, but not with other processes.
    let busy = format!(": warning: listen.port: port {} on 127.0.0.1 is in use\n", proxy.settings.addr().port());
    assert_eq!(err.matches(&busy).count(), 1, "{err}");
}
