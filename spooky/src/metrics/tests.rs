//! The page of a process that has just started.

use super::{page, render};
use crate::{
    control::Control,
    counts::Counts,
    listener_views::ListenerView,
    restart::{RestartBackoff, supervise},
    snapshot::{Snapshot, compile, listener_tls, process_limits, quic_keys},
    state::{State, UpgradeState},
};
use spooky_telemetry::metrics::{Family, Names, OldName, Syntax};
use spooky_testkit::{
    certs::{Authority, Files},
    program,
    settings::Settings,
};
use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

/// Families without samples until something has happened: their labels come from requests.
const EMPTY_AT_FIRST: [Family; 3] = [Family::HttpRequests, Family::LocalResponses, Family::StreamResets];

fn started(upstreams: &[&str]) -> (Arc<State>, Arc<Snapshot>) {
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["localhost"]));
    let settings = upstreams.iter().fold(Settings::new(&files), |settings, name| {
        settings.upstream(name, &format!("/{name}"), &["http://127.0.0.1:1".to_owned()])
    });
    let config = spooky_config::parse(&settings.text(), "spooky.yaml", &|_| None).unwrap().config;
    let state = State::new(2, &process_limits(&config), quic_keys(&config).unwrap(), UpgradeState::default()).unwrap();
    let listener = &config.listeners[0];
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    state.listeners.set(vec![ListenerView {
        name: "main".to_owned(),
        series: [Arc::default(), Arc::default()].into(),
        sockets: vec![Arc::new(socket.into())],
        certificates: listener_tls(&config, listener, &state, None).unwrap().certificates,
    }]);
    let snapshot = compile(config, &state, None).unwrap();
    (state, snapshot)
}

fn utf8(page: Vec<u8>) -> String {
    String::from_utf8(page).unwrap()
}

fn text(upstreams: &[&str]) -> (String, Vec<Family>) {
    let (state, snapshot) = started(upstreams);
    let page = page(&state, &snapshot);
    let missing = Family::ALL.iter().copied().filter(|family| page.is_empty(*family)).collect();
    (utf8(page.render(Syntax::Text, Names::Legacy)), missing)
}

#[test]
fn every_family_is_there_from_the_start() {
    let (page, missing) = text(&["api", "web"]);
    assert_eq!(missing, EMPTY_AT_FIRST);
    for family in Family::ALL {
        let definition = family.definition();
        let old = match definition.old_name {
            OldName::Legacy(old) | OldName::Kept(old) => Some(old),
            OldName::None => None,
        };
        for name in [Some(definition.name), old].into_iter().flatten().filter(|name| !name.is_empty()) {
            assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        }
    }
    for sample in [
        "spooky_requests_total 0",
        "spooky_route_requests_total{route=\"web\"} 0",
        "spooky_route_requests_total{route=\"unrouted\"} 0",
        "spooky_worker_requests_total{worker=\"worker-1\"} 0",
        "spooky_backend_healthy{upstream=\"api\",backend=\"b1\"} 1",
        "spooky_overload_shed_by_reason_total{reason=\"circuit_open\"} 0",
        "spooky_overload_shed_by_reason_total{reason=\"connection_cap\"} 0",
        "spooky_downstream_tls_handshake_failure_total{listener=\"main\",reason=\"alpn\"} 0",
        "spooky_downstream_connections{listener=\"main\",protocol=\"h3\"} 0",
        "spooky_backend_connections{upstream=\"api\",backend=\"b1\",protocol=\"h2\",state=\"idle\"} 0",
        "spooky_udp_receive_drops_total{listener=\"main\"} 0",
        "spooky_route_latency_ms_p99{route=\"unrouted\"} 0",
    ] {
        assert!(page.lines().any(|line| line == sample), "{sample} is missing in:\n{page}");
    }
}

#[test]
fn current_names_pass_the_check_of_prometheus() {
    let (state, snapshot) = started(&["api"]);
    let Some(promtool) = program::require("promtool") else { return };
    let mut checker = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = render(&state, &snapshot, Syntax::Text, Names::Current);
    let mut input = checker.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&text).unwrap());
    let output = checker.wait_with_output().unwrap();
    writer.join().unwrap();
    let problems = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && problems.trim().is_empty(), "{problems}");
}

#[test]
fn open_metrics_has_the_samples_of_the_text_format() {
    let (state, snapshot) = started(&["api"]);
    let page = page(&state, &snapshot);
    let [text, open] = [Syntax::Text, Syntax::OpenMetrics].map(|syntax| utf8(page.render(syntax, Names::Current)));
    let samples =
        |page: &str| page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&text), samples(&open));
    assert!(open.ends_with("\n# EOF\n"));
}

#[test]
fn series_of_what_a_reload_removes_are_gone_and_those_of_the_rest_go_on() {
    let (state, first) = started(&["api", "web"]);
    let [api, web] = [0, 1].map(|upstream| first.series.route(upstream, 1).unwrap().clone());
    api.requests.add(5);
    web.requests.add(7);
    first.series.backend(1, 0, 0).unwrap().count_transition(true);
    let text = |snapshot: &Snapshot| utf8(render(&state, snapshot, Syntax::Text, Names::Usual));
    assert!(text(&first).contains("spooky_route_requests_total{route=\"api\"} 5\n"));
    let mut config = first.config.clone();
    config.upstreams.remove(0);
    let second = compile(config, &state, Some(&first)).unwrap();
    web.requests.add(1); // by a request of the first snapshot
    state.listeners.set(Vec::new());
    let page = text(&second);
    assert!(!page.contains("\"api\"") && !page.contains("listener=\"main\""), "{page}");
    assert!(page.contains("spooky_route_requests_total{route=\"web\"} 8\n"), "{page}");
    let kept = "spooky_backend_health_transitions_total{upstream=\"web\",backend=\"b1\",to=\"healthy\"} 1\n";
    assert!(page.contains(kept), "{page}");
}

/// The requests that were in flight in a worker that panics count as failed, and no count falls.
#[test]
fn sums_survive_the_panic_of_a_worker() {
    let (state, snapshot) = started(&["api"]);
    let text = || utf8(render(&state, &snapshot, Syntax::Text, Names::Current));
    let counts = || Counts::new(&state.metrics, snapshot.series.clone(), 1);
    let begin = |counts: &Counts, upstream| {
        counts.totals().requests.increment();
        counts.on_routed(upstream);
    };
    let succeed = |counts: &Counts, upstream| {
        counts.totals().success.increment();
        let route = counts.route(upstream);
        route.success.increment();
        route.ended.increment();
    };
    supervise(
        &Control::new(()),
        RestartBackoff::new(),
        |is_restart| {
            let counts = counts();
            if is_restart {
                let before = text();
                assert!(before.contains("spooky_http_requests_in_flight{route=\"api\"} 3\n"), "{before}");
                counts.end_lost();
                return Ok(());
            }
            (0..5).for_each(|_| begin(&counts, Some(0)));
            begin(&counts, None);
            (0..2).for_each(|_| succeed(&counts, Some(0)));
            panic!("a worker panics with four requests in flight");
        },
        |_, _| {},
    );
    let counts = counts();
    begin(&counts, Some(0));
    succeed(&counts, Some(0));
    counts.end_lost();
    let page = text();
    for sample in [
        "spooky_requests_total 7",
        "spooky_requests_success_total 3",
        "spooky_requests_failure_total 4",
        "spooky_requests_cancelled_total 0",
        "spooky_worker_requests_failure_total{worker=\"worker-1\"} 4",
        "spooky_route_requests_total{route=\"api\"} 6",
        "spooky_route_failure_total{route=\"api\"} 3",
        "spooky_route_failure_total{route=\"unrouted\"} 1",
        "spooky_http_requests_in_flight{route=\"api\"} 0",
        "spooky_http_requests_in_flight{route=\"unrouted\"} 0",
    ] {
        assert!(page.lines().any(|line| line == sample), "{sample} is missing in:\n{page}");
    }
}
