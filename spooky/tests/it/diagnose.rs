//! `spooky diagnose` and `spooky check --system` (docs/operate/capacity.md).

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use spooky_testkit::{certs::Files, settings::Settings};

use crate::proxy::{SPOOKY, certificates};

const TOKEN: &str = "a-token-that-nobody-may-see";

fn spooky(arguments: &[&str]) -> Output {
    Command::new(SPOOKY).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Answers each request on a free port with its own first line and token. Returns the port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), Vec::new());
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            stream.write_all(&request).unwrap();
        }
    });
    port
}

/// Returns the files of an archive by their names.
fn files(archive: &Path) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap()));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let (name, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        (name.strip_prefix("spooky-diagnose/").unwrap().to_owned(), String::from_utf8_lossy(&content).into_owned())
    });
    entries.collect()
}

fn settings(files: &Files, log: &Path) -> String {
    let (metrics, control) = (echo(), echo());
    let settings = Settings::new(files).upstream("all", "/", &["http://127.0.0.1:1".to_owned()]);
    let log = format!("log: {{ level: info, file: {{ path: \"{}\" }} }}", log.display());
    let text = settings.text().replace("log: { level: info }", &log);
    assert!(text.contains(&log), "{text}");
    format!(
        "{text}observability:\n  metrics: {{ enabled: true, port: {metrics} }}\n  \
         control_api: {{ enabled: true, port: {control}, auth_token: {TOKEN} }}\n"
    )
}

#[test]
fn the_archive_has_what_a_support_case_needs_and_no_secret() {
    let (_authority, certificates) = certificates();
    let [file, log, archive] = ["spooky.yaml", "spooky.log", "case.tar.gz"].map(|name| certificates.dir().join(name));
    std::fs::write(&file, settings(&certificates, &log)).unwrap();
    std::fs::write(&log, "first line\nlast line\n").unwrap();
    let paths = [&file, &archive].map(|path| path.to_str().unwrap());
    let output = spooky(&["diagnose", "--config", paths[0], "--output", paths[1]]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(text(&output.stdout).starts_with(&format!("{} written; ", archive.display())));
    assert_eq!(std::fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);

    let files = files(&archive);
    for (name, part) in [
        ("version.txt", "commit: "),
        ("configuration/problems.txt", "Configuration validation passed successfully"),
        ("configuration/effective.yaml", "auth_token: <redacted>"),
        ("system/settings.txt", "net.core.rmem_max = "),
        ("system/limits.txt", "Max open files"),
        ("sockets/sockstat.txt", "UDP: inuse"),
        ("metrics.txt", "GET /metrics HTTP/1.0"),
        ("control/runtime.json", "GET /admin/runtime HTTP/1.0"),
        ("control/backends.json", "GET /admin/backends HTTP/1.0"),
        ("log.txt", "first line\nlast line\n"),
    ] {
        assert!(files.get(name).is_some_and(|content| content.contains(part)), "{name}: {:?}", files.get(name));
    }
    let own_request = format!("authorization: Bearer {TOKEN}\r\n");
    for (name, content) in &files {
        let content = if name.starts_with("control/") { content.replace(&own_request, "") } else { content.clone() };
        assert!(!content.contains(TOKEN), "{name}");
    }
    assert!(files["control/runtime.json"].contains(&own_request));
}

#[test]
fn a_file_with_errors_is_a_case_too() {
    let directory = tempfile::tempdir().unwrap();
    let [file, archive] = ["spooky.yaml", "case.tar.gz"].map(|name| directory.path().join(name));
    std::fs::write(&file, format!("version: 2\nobservability: {{ control_api: {{ auth_token: {TOKEN} }} }}\n"))
        .unwrap();
    let paths = [&file, &archive].map(|path| path.to_str().unwrap());
    let output = spooky(&["diagnose", "--config", paths[0], "--output", paths[1]]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let files = files(&archive);
    assert!(files["configuration/problems.txt"].contains("Invalid version: expected '1', found '2'"));
    assert!(!files.contains_key("configuration/effective.yaml"));
    assert!(files.values().all(|content| !content.contains(TOKEN)));

    let output = spooky(&["diagnose", "--config", paths[0], "--output", "/nonexistent/case.tar.gz"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: the archive cannot be written: "));
}

#[test]
fn the_system_check_needs_no_file_and_fails_for_none() {
    let lines = spooky(&["check", "--system"]);
    assert_eq!(lines.status.code(), Some(0), "{lines:?}");
    let lines = text(&lines.stdout);
    assert!(lines.contains(" net.core.somaxconn = ") && lines.contains(" hard limit of open files = "), "{lines}");
    let json = spooky(&["check", "--system", "--json"]);
    let found: Vec<BTreeMap<String, String>> = serde_json::from_slice(&json.stdout).unwrap();
    assert!(found.iter().all(|finding| lines.contains(&format!("{} = {}", finding["name"], finding["value"]))));
    assert!(found.iter().all(|finding| ["ok", "low", "unknown"].contains(&&*finding["verdict"])), "{found:?}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spooky.yaml");
    let huge = "listen: { tls: { cert: c, key: k } }\nupstream: { a: { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] } }\n\
                performance: { udp_recv_buffer_bytes: 1TB }\n";
    std::fs::write(&file, huge.replace("1TB", "999GB")).unwrap();
    let low = spooky(&["check", "--system", "--config", file.to_str().unwrap()]);
    assert_eq!(low.status.code(), Some(0), "{low:?}");
    assert!(text(&low.stdout).contains("sysctl -w net.core.rmem_max=999000000000"), "{low:?}");
}
