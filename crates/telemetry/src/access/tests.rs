//! The text of each kind of line, and which lines are handed over when.

use super::{output::Wanted, *};
use crate::{ClientProtocol, TraceIds, queue::LogWriter, sink::Sink};
use serde_json::{Map, Value, json};
use spooky_config::{AccessField, LogFormat};
use std::{fs, path::PathBuf};

fn record() -> RequestRecord<'static> {
    RequestRecord {
        request_id: b"id-1",
        trace: Some(TraceIds { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7 }),
        method: b"GET",
        path: b"/a?b=\"c\"",
        host: b"example.com",
        user_agent: b"Agent/1 (x; \"y\")\n",
        protocol: ClientProtocol::Http3,
        client: "192.0.2.7:4711".parse().unwrap(),
        status: Some(200),
        upstream: Some("api"),
        backend: Some("http://10.0.0.1:80"),
        latency: Duration::from_micros(12_999),
        queue: Duration::from_millis(3),
        connect: Some(Duration::from_micros(7)),
        upstream_time: Some(Duration::from_micros(8_500)),
        first_byte: Some(Duration::from_micros(9_001)),
        bytes_in: 0,
        bytes_out: 12_345,
        attempts: 3,
        is_hedged: true,
        reason: None,
        error: None,
    }
}

/// A request of which nothing is known.
fn absent() -> RequestRecord<'static> {
    RequestRecord {
        request_id: b"",
        trace: None,
        method: b"",
        path: b"",
        host: b"",
        user_agent: b"",
        status: None,
        upstream: None,
        backend: None,
        connect: None,
        upstream_time: None,
        first_byte: None,
        attempts: 0,
        is_hedged: false,
        reason: Some("client_abort"),
        error: Some("client"),
        ..record()
    }
}

/// A log that writes to a file.
struct Rig {
    log: Option<AccessLog>,
    writer: Option<LogWriter>,
    file: PathBuf,
    start: Instant,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new(format: LineFormat, fields: &[AccessField], threshold: Option<u64>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let sink = Sink::file(crate::open_file::open(&file, None).unwrap()).0;
        let (queue, writer) = LineQueue::start(sink, Arc::default()).unwrap();
        let destination = || Destination { queue: queue.clone(), format, fields: fields.to_vec() };
        let settings = Settings { requests: destination(), connections: destination(), sample_threshold: threshold };
        let output = AccessOutput::new(settings, Wanted { requests: true, connections: true });
        let start = Instant::now();
        let mut log = AccessLog::new(output, 1, start);
        log.advance(start, Duration::from_micros(1_790_000_000_123_456));
        Self { log: Some(log), writer: Some(writer), file, start, _directory: directory }
    }

    fn log(&mut self) -> &mut AccessLog {
        self.log.as_mut().unwrap()
    }

    /// Ends log and writer, and returns all lines.
    fn lines(&mut self) -> Vec<String> {
        self.log = None;
        self.writer = None;
        fs::read_to_string(&self.file).unwrap().lines().map(str::to_owned).collect()
    }
}

fn line(format: LineFormat, record: &RequestRecord<'_>, fields: &[AccessField]) -> String {
    let mut rig = Rig::new(format, fields, None);
    rig.log().request(record);
    rig.lines().join("\n")
}

#[test]
fn a_plain_line_has_all_fields_in_their_order() {
    let plain = LineFormat::Text(LogFormat::Plain);
    assert_eq!(
        line(plain, &record(), &AccessField::ALL),
        "2026-09-21T14:13:20.123456Z  INFO access: request_id=id-1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 \
         span_id=00f067aa0ba902b7 method=GET path=/a?b=\\x22c\\x22 status=200 backend=http://10.0.0.1:80 upstream=api \
         latency_ms=12 retries=1 client=192.0.2.7:4711 protocol=h3 host=example.com bytes_in=0 bytes_out=12345 \
         queue_ms=3 connect_ms=0.007 ttfb_ms=9.001 upstream_ms=8.500 attempts=3 hedged=true reason=- \
         user_agent=\"Agent/1\\x20(x;\\x20\\x22y\\x22)\\x0a\""
    );
    assert_eq!(
        line(plain, &absent(), &AccessField::ALL),
        "2026-09-21T14:13:20.123456Z  INFO access: request_id=- trace_id=- span_id=- method=- path=- status=- backend=- \
         upstream=- latency_ms=12 retries=0 client=192.0.2.7:4711 protocol=h3 host=- bytes_in=0 bytes_out=12345 \
         queue_ms=3 connect_ms=- ttfb_ms=- upstream_ms=- attempts=0 hedged=false reason=client_abort user_agent=\"-\" \
         error=client"
    );
}

#[test]
fn a_json_line_has_the_types_of_its_fields() {
    let parsed = |record: &RequestRecord<'_>| -> Map<String, Value> {
        serde_json::from_str(&line(LineFormat::Text(LogFormat::Json), record, &AccessField::ALL)).unwrap()
    };
    let expected = json!({
        "ts": "2026-09-21T14:13:20.123456Z", "level": "info", "target": "access", "msg": "request",
        "request_id": "id-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
        "method": "GET", "path": "/a?b=\"c\"", "status": 200, "backend": "http://10.0.0.1:80", "upstream": "api",
        "latency_ms": 12, "retries": 1, "client": "192.0.2.7:4711", "protocol": "h3", "host": "example.com",
        "bytes_in": 0, "bytes_out": 12345, "queue_ms": 3, "connect_ms": 0.007, "ttfb_ms": 9.001, "upstream_ms": 8.5,
        "attempts": 3, "hedged": true, "reason": null, "user_agent": "Agent/1 (x; \"y\")\n", "error": null,
    });
    assert_eq!(Value::Object(parsed(&record())), expected);
    let absent = parsed(&absent());
    for field in ["request_id", "trace_id", "span_id", "method", "path", "status", "connect_ms", "ttfb_ms", "host"] {
        assert_eq!(absent[field], Value::Null, "{field}");
    }
    assert_eq!((&absent["reason"], &absent["error"]), (&json!("client_abort"), &json!("client")));
    assert_eq!(absent.len(), expected.as_object().unwrap().len(), "an absent field is null, not missing");
}

#[test]
fn a_journal_entry_has_a_message_and_the_fields() {
    let fields = [AccessField::Path, AccessField::Status, AccessField::Backend];
    let entry = line(LineFormat::Journal(LogFormat::Plain), &RequestRecord { backend: None, ..record() }, &fields);
    let begin = "PRIORITY=6\nSYSLOG_IDENTIFIER=spooky\nTARGET=access\nMESSAGE=";
    let end = "PATH=/a?b=\\x22c\\x22\nSTATUS=200\n";
    assert_eq!(entry, format!("{begin}path=/a?b=\\x22c\\x22 status=200 backend=-\n{end}"));
    let entry = line(LineFormat::Journal(LogFormat::Json), &record(), &fields[1..2]);
    assert!(entry.contains("\nMESSAGE={\"ts\":\"2026-09-21T14:13:20.123456Z\",\"level\":\"info\","), "{entry}");
}

#[test]
fn only_the_selected_fields_are_written_in_the_selected_order() {
    let fields = [AccessField::Status, AccessField::Method];
    let text = line(LineFormat::Text(LogFormat::Plain), &record(), &fields);
    assert_eq!(text, "2026-09-21T14:13:20.123456Z  INFO access: status=200 method=GET");
    let text = line(LineFormat::Text(LogFormat::Json), &record(), &fields);
    assert!(text.ends_with("\"msg\":\"request\",\"status\":200,\"method\":\"GET\"}"), "{text}");
}

#[test]
fn connections_and_routes_have_their_own_fields() {
    let connection = ConnectionRecord {
        client: "[2001:db8::1]:9".parse().unwrap(),
        protocol: Some(ClientProtocol::Http3),
        duration: Duration::from_millis(1500),
        handshake: Some(Duration::from_micros(2750)),
        requests: 4,
        bytes_in: 5,
        bytes_out: 6,
        lost_packets: None,
        rtt: Some(Duration::from_micros(120)),
        reason: "closed by peer: 0".into(),
    };
    let route = RouteRecord {
        request_id: b"a 1",
        upstream: "api",
        path_len: 7,
        is_host_specific: false,
        reason: None,
        algorithm: "round-robin",
    };
    let mut rig = Rig::new(LineFormat::Text(LogFormat::Plain), &[], None);
    rig.log().connection(&connection);
    rig.log().route(&route);
    let mut lines = rig.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "2026-09-21T14:13:20.123456Z  INFO access: request_id=a\\x201 route_upstream=api route_path_len=7 \
             route_host_specific=false route_reason=- lb=round-robin",
            "2026-09-21T14:13:20.123456Z  INFO connection: client=[2001:db8::1]:9 protocol=h3 duration_ms=1500.000 \
             handshake_ms=2.750 requests=4 bytes_in=5 bytes_out=6 lost_packets=- rtt_ms=0.120 \
             reason=closed\\x20by\\x20peer:\\x200",
        ]
    );
}

#[test]
fn sampling_keeps_every_failure_and_a_share_of_the_others() {
    let selected = |seed_shift: u64, status| {
        let mut rig = Rig::new(LineFormat::Text(LogFormat::Plain), &[AccessField::BytesIn], Some(u64::MAX / 4));
        let shifted: Vec<u64> = (0..seed_shift).map(|_| rig.log().rng.next_u64()).collect();
        assert_eq!(shifted.len() as u64, seed_shift);
        for bytes_in in 0..1000 {
            rig.log().request(&RequestRecord { status, bytes_in, ..record() });
        }
        rig.lines()
    };
    let of_success = selected(0, Some(399));
    assert!((180..320).contains(&of_success.len()), "{}", of_success.len());
    assert_eq!(of_success, selected(0, Some(200)), "the seed decides");
    assert_ne!(of_success, selected(1, Some(200)));
    for status in [Some(400), Some(503), None] {
        assert_eq!(selected(0, status).len(), 1000, "{status:?}");
    }
}

#[test]
fn lines_are_handed_over_when_the_buffer_is_full_or_old() {
    let mut rig = Rig::new(LineFormat::Text(LogFormat::Plain), &[AccessField::Status], None);
    let start = rig.start;
    assert_eq!(rig.log().deadline(), None);
    rig.log().request(&record());
    assert_eq!(rig.log().deadline(), Some(start + MAX_DELAY));
    rig.log().end_turn();
    assert_eq!(rig.log().requests.lines, 1);
    rig.log().advance(start + MAX_DELAY, Duration::ZERO);
    rig.log().request(&record());
    rig.log().end_turn();
    assert_eq!((rig.log().requests.lines, rig.log().deadline()), (0, None));
    while rig.log().requests.bytes.len() + 64 < FULL || rig.log().requests.lines == 0 {
        rig.log().request(&record());
    }
    rig.log().request(&record());
    assert!(rig.log().requests.lines <= 1, "a full buffer does not wait for the end of the turn");
}

#[test]
fn nothing_is_written_while_it_is_switched_off() {
    let mut rig = Rig::new(LineFormat::Text(LogFormat::Plain), &AccessField::ALL, None);
    rig.log().request(&record());
    let output = rig.log().output.clone();
    output.want(Wanted { requests: false, connections: false });
    rig.log().request(&record());
    assert!(!rig.log().has_connections());
    drop(output);
    assert_eq!(rig.lines().len(), 1);
}
