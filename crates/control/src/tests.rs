//! The endpoints over a fake of the process.

use crate::{
    Admin, ApiOptions, BackendState, Backends, ConfigChange, ConnectionLimits, ControlPlane, Draining, Health, History,
    ListenerTls, Ready, Reload, Restart, Runtime, Site, Status, StatusSample, Transition, UpstreamState, Validation,
    WatchdogHealth, model, schema::schemas,
};
use rustls::ServerConfig;
use serde::Serialize;
use serde_json::{Value, json};
use spooky_config::ControlApi;
use spooky_telemetry::metrics::{Names, Syntax};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Fake;

impl Admin for Fake {
    fn token(&self) -> Option<Arc<str>> {
        None
    }
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        None
    }
    fn limits(&self, _site: Site) -> ConnectionLimits {
        ConnectionLimits { connections: 2, duration: PATIENCE }
    }
    fn health(&self) -> Health {
        Health { status: "ok", uptime_ms: 1, watchdog: WatchdogHealth::default() }
    }
    fn ready(&self) -> Ready {
        Ready::default()
    }
    fn runtime(&self) -> Runtime {
        panic!("the fake has no state")
    }
    fn status(&self) -> Status {
        Status::default()
    }
    fn history(&self) -> History {
        History::default()
    }
    fn backends(&self) -> Backends {
        Backends::default()
    }
    fn backend(&self, _upstream: &str, _id: &str) -> Option<BackendState> {
        None
    }
    fn drain(&self, _upstream: &str, _id: &str, _draining: Draining) -> Option<BackendState> {
        None
    }
    fn config(&self) -> Value {
        json!({})
    }
    fn log_level(&self) -> String {
        "spooky".to_owned()
    }
    fn set_log_level(&self, _level: &str) -> bool {
        false
    }
    fn metrics(&self, _syntax: Syntax, _names: Names) -> Vec<u8> {
        Vec::new()
    }
    async fn reload(&self) -> Reload {
        Reload::Failed("no".to_owned())
    }
    async fn reload_certificates(&self) -> Reload {
        Reload::Failed("no".to_owned())
    }
    async fn rollback(&self) -> Reload {
        Reload::Rejected { error: "no".to_owned(), fields: vec!["a".to_owned()] }
    }
    async fn validate(&self, text: String) -> Validation {
        Validation { is_valid: text == "good", problems: json!([]) }
    }
    async fn restart(&self) -> Restart {
        Restart::Pending
    }
}

fn serve() -> (ControlPlane, SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, dropped) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let plane = ControlPlane::start(1).unwrap();
    let options = ApiOptions { config: ControlApi::default(), dropped: dropped.clone() };
    plane.serve_api(listener, options, Arc::new(Fake)).unwrap();
    (plane, address, dropped)
}

/// Sends a request on a connection of its own. Returns what comes until its end.
fn answer(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Returns status and body.
fn parts(answer: &str) -> (&str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap(), body.trim())
}

#[test]
fn results_become_statuses() {
    let (_plane, address, _) = serve();
    for (method, path, body, status, expected) in [
        ("GET", "/health", "", "200", r#""status":"ok""#),
        ("GET", "/ready", "", "503", r#""ready":false"#),
        ("POST", "/admin/runtime/reload", "", "500", r#"{"error":"no","reloaded":false}"#),
        ("POST", "/admin/runtime/reload-certs", "", "400", r#"{"error":"no","reloaded":false}"#),
        ("POST", "/admin/runtime/rollback", "", "409", r#"{"error":"no","fields":["a"],"reloaded":false}"#),
        ("POST", "/admin/runtime/validate", "good", "200", "[]"),
        ("POST", "/admin/runtime/validate", "bad", "400", "[]"),
        (
            "POST",
            "/admin/runtime/restart",
            "",
            "409",
            r#"{"accepted":false,"error":"restart pending or cooldown active"}"#,
        ),
        ("PUT", "/admin/log-level", r#"{"level":"x"}"#, "400", "RUST_LOG"),
        ("GET", "/nothing", "", "404", "not found"),
    ] {
        let text = answer(address, method, path, body);
        let (found, json) = parts(&text);
        assert!(found == status && json.contains(expected), "{method} {path}: {text}");
    }
}

#[test]
fn a_panic_ends_one_connection_and_no_other() {
    let (_plane, address, _) = serve();
    for _ in 0..3 {
        assert_eq!(answer(address, "GET", "/admin/runtime", ""), "");
        assert!(answer(address, "GET", "/health", "").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn connections_above_the_limit_are_closed_and_counted() {
    let (_plane, address, dropped) = serve();
    let open: Vec<_> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut third = TcpStream::connect(address).unwrap();
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(third.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(dropped.load(Relaxed), 1);
    drop(open);
}

/// The names of all keys of an object, from the schema or from a value, with those of the objects within.
fn keys(value: &Value, of_schema: bool) -> Vec<String> {
    let mut found = Vec::new();
    let fields = if of_schema { &value["properties"] } else { value };
    for (name, field) in fields.as_object().into_iter().flatten() {
        found.push(name.clone());
        let field = if of_schema && field["type"] == "array" { &field["items"] } else { field };
        let field = if !of_schema && field.is_array() { &field[0] } else { field };
        found.extend(keys(field, of_schema).into_iter().map(|inner| format!("{name}.{inner}")));
    }
    found
}

/// Checks that a type has the fields of its schema, in alphabetical order.
fn check(name: &str, value: &impl Serialize) {
    let text = serde_json::to_string(value).unwrap();
    let mut parsed: Value = serde_json::from_str(&text).unwrap();
    parsed.sort_all_objects();
    assert_eq!(serde_json::to_string(&parsed).unwrap(), text, "{name}: keys in alphabetical order");
    let mut schemas = schemas();
    schemas.sort_all_objects();
    let schema = &schemas[name];
    assert_eq!(keys(&parsed, false), keys(schema, true), "{name}");
    assert_eq!(schema["required"].as_array().map(Vec::len), schema["properties"].as_object().map(serde_json::Map::len));
}

#[test]
fn the_schemas_describe_what_is_serialized() {
    let change =
        ConfigChange { at_ms: 1, by: "", changed: Vec::new(), error: None, generation: 1, kind: "", result: "" };
    check("Health", &Fake.health());
    check("Ready", &Ready::default());
    let tls = model::RuntimeTls { listeners: vec![ListenerTls::default()] };
    check("Runtime", &Runtime { tls, ..Runtime::default() });
    check("Backend", &BackendState::default());
    check("Backends", &json!({ "upstreams": [{ "algorithm": "", "backends": [], "name": "" }] }));
    check("History", &History { generations: vec![change] });
    let (samples, transitions) = (vec![StatusSample::default()], vec![Transition::default()]);
    check("Status", &Status { samples, transitions, ..Status::default() });
    let upstream = serde_json::to_value(UpstreamState::default()).unwrap();
    assert_eq!(keys(&upstream, false), ["algorithm", "backends", "name"]);
}
