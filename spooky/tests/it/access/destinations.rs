//! Where access lines go, in which form, and which of them are written.

use super::{Line, line};
use crate::proxy::Proxy;
use http::Request;
use rustix::process::Signal;
use serde_json::{Map, Value};
use spooky_testkit::{origin::Origin, wait};
use std::{fs, path::Path};

/// Starts with these keys of `log`, in which `{directory}` is an empty directory.
async fn start(keys: &str, backend: &Origin) -> (Proxy, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys.replace("{directory}", directory.path().to_str().unwrap());
    let edit = |text: String| text.replace("log: { level: info }", &format!("log: {{ level: info, {keys} }}"));
    let proxy = Proxy::start_edited(|settings| settings.upstream("all", "/", &[backend.url()]), edit).await;
    (proxy, directory)
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// Waits until the file has this many lines.
async fn until(file: &Path, lines: usize) -> Vec<String> {
    wait::until(wait::BOUND, &format!("{lines} lines in {}", file.display()), || async {
        let text = read(file);
        (text.lines().count() >= lines).then(|| text.lines().map(str::to_owned).collect())
    })
    .await
}

#[tokio::test]
async fn a_file_of_its_own_is_reopened_by_either_signal_and_loses_no_line() {
    let origin = Origin::h2c().await;
    let keys = "access: { file: \"{directory}/access/access.log\", format: json }";
    let (mut proxy, directory) = start(keys, &origin).await;
    let (file, mut rotated) = (directory.path().join("access/access.log"), Vec::new());
    let connection = proxy.connect().await;
    for (number, signal) in [Signal::USR1, Signal::HUP, Signal::USR1].into_iter().enumerate() {
        for _ in 0..100 {
            assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        }
        let to = file.with_extension(number.to_string());
        fs::rename(&file, &to).unwrap();
        proxy.program.signal(signal);
        proxy.logged(&format!("Log file reopened: {}", file.display()), number + 1).await;
        rotated.push(to);
    }
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    proxy.program.stop().await;
    proxy.program.rest().await;
    assert_eq!(proxy.program.access_lines(), [""; 0], "nothing on standard error");
    rotated.push(file);
    let lines: Vec<Map<String, Value>> = rotated
        .iter()
        .flat_map(|file| read(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines.len(), 301);
    assert!(lines.iter().all(|line| line["msg"] == "request" && line["status"] == 200), "{lines:?}");
}

#[tokio::test]
async fn json_has_native_types_and_values_of_peers_stay_within_their_fields() {
    let origin = Origin::h2c().await;
    let (mut proxy, directory) = start("access: { format: json, file: \"{directory}/a\" }", &origin).await;
    let request = Request::get("https://localhost/echo?x='1'&y=2").header("user-agent", "a \"b\" \\ {}");
    proxy.connect().await.send(request.body("".into()).unwrap()).await.unwrap();
    proxy.program.stop().await;
    let log = read(&directory.path().join("a"));
    let lines: Vec<Map<String, Value>> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["target"] == "access").unwrap();
    assert_eq!(line["user_agent"], "a \"b\" \\ {}");
    assert_eq!(line["path"], "/echo?x='1'&y=2");
    assert_eq!((&line["level"], &line["msg"]), (&"info".into(), &"request".into()));
    for name in ["status", "latency_ms", "retries", "bytes_in", "bytes_out", "queue_ms", "attempts"] {
        assert!(line[name].is_u64(), "{name}: {}", line[name]);
    }
    for name in ["connect_ms", "ttfb_ms", "upstream_ms"] {
        assert!(line[name].is_f64(), "{name}: {}", line[name]);
    }
    assert_eq!((&line["hedged"], &line["reason"], &line["error"]), (&false.into(), &Value::Null, &Value::Null));
    let ts = line["ts"].as_str().unwrap();
    assert!(ts.len() == "2026-01-01T00:00:00.000000Z".len() && ts.ends_with('Z'), "{ts}");
}

#[tokio::test]
async fn fields_samples_and_levels_select_what_is_written() {
    let origin = Origin::h2c().await;
    let (proxy, directory) =
        start("access: { file: \"{directory}/a\", fields: [status, path], sample_ratio: 0.0 }", &origin).await;
    let connection = proxy.connect().await;
    for path in ["/", "/status/500", "/", "/status/404"] {
        connection.get(path).await.unwrap();
    }
    let lines = until(&directory.path().join("a"), 2).await;
    let lines: Vec<_> = lines.iter().map(|line| line.split_once(" INFO access: ").unwrap().1).collect();
    assert_eq!(lines, ["status=500 path=/status/500", "status=404 path=/status/404"]);
    proxy.stop().await;

    let (mut proxy, _directory) = start("access: { enabled: false }", &origin).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().status, 200);
    proxy.program.stop().await;
    proxy.program.rest().await;
    assert_eq!(proxy.program.access_lines(), [""; 0]);
}

#[tokio::test]
async fn a_reload_switches_the_access_log_and_its_file() {
    let origin = Origin::h2c().await;
    // The sandbox lets the process write to the directories that its first configuration names.
    let (mut proxy, directory) = start("access: { enabled: false, file: \"{directory}/a\" }", &origin).await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/status/201").await.unwrap().status, 201);
    let text = read(&proxy.dir().join("spooky.yaml"));
    let disabled = format!("{{ enabled: false, file: \"{}\" }}", directory.path().join("a").display());
    proxy.reload(&text.replace(&disabled, "{ enabled: true, fields: [request_id, status] }"), 2).await;
    assert_eq!(connection.get("/status/202").await.unwrap().status, 202);
    line(&mut proxy).await.check("status=202");
    let file = directory.path().join("b");
    let keys = format!("{{ file: \"{}\", fields: [request_id, status] }}", file.display());
    proxy.reload(&text.replace(&disabled, &keys), 3).await;
    assert_eq!(connection.get("/status/203").await.unwrap().status, 203);
    Line::parse(&until(&file, 1).await[0]).check("status=203");
    proxy.reload(&text, 4).await;
    assert_eq!(connection.get("/status/204").await.unwrap().status, 204);
    proxy.program.stop().await;
    proxy.program.rest().await;
    assert_eq!((proxy.program.access_lines().len(), read(&file).lines().count()), (1, 1));
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_leaves_the_general_log() {
    let origin = Origin::h2c().await;
    let (mut proxy, _directory) = start("access: { file: /proc/none/access.log }", &origin).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().status, 200);
    line(&mut proxy).await.check("status=200");
    let failure = "Access log file /proc/none/access.log cannot be opened, access lines go to the general log: ";
    proxy.logged(failure, 1).await;
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_delays_no_request() {
    let origin = Origin::h2c().await;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Held open, so that the proxy can open it, and never read.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let keys = format!("access: {{ file: \"{}\" }}", pipe.display());
    let (mut proxy, _) = start(&keys, &origin).await;
    let connection = proxy.connect().await;
    for _ in 0..1000 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    assert_eq!(proxy.program.stop().await.code(), Some(0), "it stops although the pipe takes nothing");
    proxy.program.line("Spooky shutdown complete").await;
}
