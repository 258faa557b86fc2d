//! Reloads by SIGHUP: new requests use the new configuration, requests in progress keep the previous one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rustix::process::Signal;
use spooky_testkit::certs::Files;
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Fault, Rogue, Script, Step};
use spooky_testkit::{port, wait};

use crate::proxy::{NAME, Proxy};

/// Logged when a stop arrives while a reload takes effect.
const STOPS_LATER: &str = "Stopping when the reload is done; a second signal stops at once";

/// Starts a proxy with two upstreams; tests change the second.
async fn two_routes(first: &Origin, second: &Origin) -> Proxy {
    let (first, second) = ([first.url()], [second.url()]);
    Proxy::start(|settings| settings.upstream("main", "/", &first).upstream("other", "/gate", &second).workers(2)).await
}

/// Sends a request for `/gate` that waits at the origin.
async fn waiting_at(origin: &Origin, connection: &Connection) -> tokio::task::JoinHandle<(u16, String)> {
    let before = origin.journal().now().requests.len();
    let connection = connection.clone();
    let request = tokio::spawn(async move {
        let reply = connection.get("/gate").await.unwrap();
        (reply.status.as_u16(), reply.text().to_owned())
    });
    origin.journal().until("the request at the origin", |record| record.requests.len() > before).await;
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_finishes_although_its_route_and_backend_are_removed() {
    let (main, other) = (Origin::h2c().await, Origin::h2c().await);
    let proxy = two_routes(&main, &other).await;
    let connection = proxy.connect().await;
    let request = waiting_at(&other, &connection).await;
    let without = proxy.settings.text().replace("  other:\n", "  unused:\n").replace("\"/gate\"", "\"/unused\"");
    proxy.reload(&without.replace(&other.url(), "http://127.0.0.1:9"), 2).await;

    // A new request on the same connection uses the new configuration.
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    assert_eq!(connection.get("/status/204").await.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(other.journal().now().requests.len(), 1);
    other.open_gate();
    assert_eq!(request.await.unwrap(), (200, "through".to_owned()));
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_keeps_its_timeout_and_its_limits() {
    let origin = Origin::h2c().await;
    let backends = [origin.url()];
    // A late answer must not affect the health of the backend here.
    let alone = "timeouts: { response_ms: 20s, total_ms: 25s }\npassive_health: { enabled: false }";
    let once = "resilience:\n  circuit_breaker: { enabled: false }\n  retry_budget: { max_retries: 0 }";
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &backends, alone).block(once)).await;
    let connection = proxy.connect().await;
    let request = waiting_at(&origin, &connection).await;
    let quick = proxy.settings.text().replace("response_ms: 20s", "response_ms: 100, connect_ms: 100");
    proxy.reload(&quick, 2).await;
    // A new request has the new timeout, which expires before the old one.
    let reply = connection.get("/hold").await.unwrap();
    assert_eq!((reply.status, reply.text().trim()), (StatusCode::SERVICE_UNAVAILABLE, "upstream timeout"));
    origin.open_gate();
    assert_eq!(request.await.unwrap(), (200, "through".to_owned()));

    let small = quick.replace("performance:\n", "performance:\n  max_request_body_bytes: 10\n");
    let mut upload = connection.open(http::Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
    upload.sending.data(vec![1; 8]).await.unwrap();
    origin.journal().until("the upload", |record| record.requests.iter().any(|request| request.path == "/echo")).await;
    proxy.reload(&small, 3).await;
    upload.sending.data(vec![1; 8]).await.unwrap();
    upload.sending.finish().await.unwrap();
    assert_eq!(upload.reading.reply().await.unwrap().body.len(), 16, "it began when more was allowed");
    assert_eq!(connection.post("/echo", vec![1; 16]).await.unwrap().status, StatusCode::PAYLOAD_TOO_LARGE);
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_and_a_change_that_needs_a_restart_change_nothing() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    let good = proxy.settings.text();
    let moved = good.replace("path_prefix: \"/\"", "path_prefix: \"/moved\"");
    let secret = proxy.dir().join("secret");
    std::fs::write(&secret, [7; 32]).unwrap();
    let secret = secret.display();
    for (number, (bad, expected)) in [
        (moved.replace("version: 1", "version: 9"), "Invalid version: expected '1', found '9'"),
        (moved.replace("key.pem", "lost.pem"), "lost.pem"),
        (moved.replace("performance:", "performence:"), "unknown field 'performence'"),
        (
            moved.replace("worker_threads: 1", "worker_threads: 2"),
            "runtime reload rejected: performance.worker_threads changed from 1 to 2; restart required",
        ),
        (
            moved.replace("worker_threads: 1", &format!("worker_threads: 1\n  quic_secret_file: {secret}")),
            &format!(
                "runtime reload rejected: performance.quic_secret_file changed from null to {secret}; restart required"
            ),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.rewrite(&bad);
        proxy.program.signal(Signal::HUP);
        proxy.logged("; keeping generation 1", number + 1).await;
        assert!(proxy.count(expected) >= 1, "{expected}");
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    assert_eq!(proxy.count("Configuration reload failed: 1 error(s); keeping generation 1"), 5);
    proxy.reload(&moved, 2).await;
    assert_eq!(connection.get("/").await.unwrap().status, StatusCode::NOT_FOUND);
    proxy.stop().await;
}

#[tokio::test]
async fn another_content_of_the_quic_secret_is_warned_of() {
    let origin = Origin::h2c().await;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, [7; 32]).unwrap();
    let proxy = Proxy::start(|settings| {
        let performance = format!("quic_secret_file: {}", secret.display());
        settings.performance(&performance).upstream("all", "/", &[origin.url()])
    })
    .await;
    let warning = "has changed; its new content needs a restart";
    proxy.reload(&proxy.settings.text(), 2).await;
    assert_eq!(proxy.count(warning), 0);
    std::fs::write(&secret, [8; 32]).unwrap();
    proxy.reload(&proxy.settings.text(), 3).await;
    proxy.logged(&format!("performance.quic_secret_file '{}' {warning}", secret.display()), 1).await;
    std::fs::write(&secret, [7; 32]).unwrap();
    proxy.reload(&proxy.settings.text(), 4).await;
    assert_eq!(proxy.count(warning), 1);
    proxy.stop().await;
}

/// Adds a second listener to the configuration.
fn with_listener(text: &str, addr: SocketAddr) -> String {
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().trim().to_owned();
    let (tls, port) = (line("  tls: "), line("  port: "));
    let first = format!("  - {{ address: 127.0.0.1, {port}, {tls} }}\n");
    let second = format!("  - {{ address: 127.0.0.1, port: {}, {tls} }}\n", addr.port());
    text.replace("upstream:\n", &format!("listeners:\n{first}{second}upstream:\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_and_a_removed_one_drains() {
    let origin = Origin::h2c().await;
    let backends = [origin.url()];
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).workers(2)).await;
    let one = proxy.settings.text();
    let first = proxy.connect().await;
    let added = port::free();
    proxy.reload(&with_listener(&one, added), 2).await;
    let second = proxy.client().connect(added, NAME).await;
    assert_eq!(second.get("/").await.unwrap().text(), "hello");
    assert_eq!(first.get("/").await.unwrap().text(), "hello", "the connection of the listener that stays");

    let request = waiting_at(&origin, &second).await;
    proxy.reload(&one, 3).await;
    origin.open_gate();
    assert_eq!(request.await.unwrap().0, 200, "what had begun on the removed listener finishes");
    assert_eq!(second.closed().await, Some(0x100), "H3_NO_ERROR");
    assert_eq!(first.get("/").await.unwrap().text(), "hello");
    // The port is free when all workers have closed their sockets.
    wait::until(wait::BOUND, "the port to be free", || async { std::net::UdpSocket::bind(added).ok() }).await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_listener_that_comes_back_while_it_drains_is_refused_for_that_reason() {
    let origin = Origin::h2c().await;
    let backends = [origin.url()];
    let proxy = Proxy::start(|settings| {
        let settings = settings.upstream("all", "/", &backends).workers(2).level("debug");
        settings.performance("shutdown_drain_timeout_ms: 60s")
    })
    .await;
    let one = proxy.settings.text();
    let added = port::free();
    let two = with_listener(&one, added);
    proxy.reload(&two, 2).await;
    let second = proxy.client().connect(added, NAME).await;
    let request = waiting_at(&origin, &second).await;
    proxy.reload(&one, 3).await;
    proxy.reload(&one, 4).await;
    proxy.logged("Configuration freed (generation=3)", 1).await; // all workers have applied it
    proxy.rewrite(&two);
    proxy.program.signal(Signal::HUP);
    proxy.logged("Configuration reload failed: 1 error(s); keeping generation 4", 1).await;
    proxy.logged("a removed listener on this address is still draining", 1).await;
    origin.open_gate();
    assert_eq!(request.await.unwrap().0, 200);
    assert_eq!(second.closed().await, Some(0x100), "H3_NO_ERROR");
    wait::until(wait::BOUND, "the port to be free", || async { std::net::UdpSocket::bind(added).ok() }).await;
    proxy.reload(&two, 5).await;
    assert_eq!(proxy.client().connect(added, NAME).await.get("/").await.unwrap().text(), "hello");
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_removed_backend_do_not_hold_up_those_for_its_successor() {
    let (main, hanging, successor) = (Origin::h2c().await, Origin::h2c().await, Origin::h2c().await);
    let (first, second) = ([main.url()], [hanging.url()]);
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("main", "/", &first)
            .upstream("other", "/gate", &second)
            .performance("per_backend_inflight_limit: 1")
            .block("resilience:\n  route_queue: { max_wait_ms: 10m }")
    })
    .await;
    let connection = proxy.connect().await;
    let request = waiting_at(&hanging, &connection).await;
    let mut queued = connection.open(http::Request::get("https://localhost/gate").body(()).unwrap()).await.unwrap();
    queued.sending.finish().await.unwrap();
    assert_eq!(connection.get("/").await.unwrap().text(), "hello", "what was sent before has arrived");
    successor.open_gate();
    proxy.reload(&proxy.settings.text().replace(&hanging.url(), &successor.url()), 2).await;
    assert_eq!(proxy.connect().await.get("/gate").await.unwrap().text(), "through");
    hanging.open_gate();
    assert_eq!(request.await.unwrap().0, 200);
    assert_eq!(queued.reading.reply().await.unwrap().text(), "through");
    assert_eq!(hanging.journal().now().requests.len(), 2, "it went where it had begun to wait");
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_waits_for_a_file_for_ever_does_not_keep_the_process_from_stopping() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    let pipe = proxy.dir().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("run mkfifo");
    assert!(made.success());
    std::fs::rename(&pipe, proxy.dir().join("spooky.yaml")).unwrap();
    proxy.program.signal(Signal::HUP);
    // Opening a pipe for writing blocks until there is a reader.
    let path = proxy.dir().join("spooky.yaml");
    let open = tokio::task::spawn_blocking(|| std::fs::OpenOptions::new().write(true).open(path).unwrap());
    let writer = wait::within("the reload to read", open).await.unwrap();
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    proxy.stop().await;
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_of_a_backend_that_stays_is_kept_and_a_new_one_is_used_at_once() {
    let (good, dead) = (Origin::h2c().await, format!("http://{}", port::free()));
    let block = "load_balancing: { type: round_robin }\npassive_health: { failure_threshold: 1, cooldown_ms: 1h }";
    let backends = [good.url(), dead.clone()];
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &backends, block)).await;
    let connection = proxy.connect().await;
    for _ in 0..4 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    proxy.logged("became unhealthy", 1).await;
    let third = Origin::h2c().await;
    let more = format!("      - {{ id: b3, address: \"{}\" }}\n    load_balancing", third.url());
    proxy.reload(&proxy.settings.text().replace("    load_balancing", &more), 2).await;
    for _ in 0..8 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    assert!(third.journal().now().requests.len() >= 3, "the new backend has its share");
    assert_eq!(proxy.count("became unhealthy"), 1, "the dead one was not tried again");
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reloads_under_traffic_lose_nothing_and_free_what_they_replace() {
    const RELOADS: u64 = 60;
    let origin = Origin::h2c().await;
    let backends = [origin.url()];
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).workers(2).level("debug")).await;
    let clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    let (stop, addr) = (tokio::sync::watch::channel(false), proxy.settings.addr());
    let mut traffic = tokio::task::JoinSet::new();
    for client in clients {
        let stopped = stop.1.clone();
        traffic.spawn(async move {
            let connection = client.connect(addr, NAME).await;
            let mut served = 0;
            while !*stopped.borrow() {
                let body = Bytes::from(vec![7; 3000]);
                assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body);
                served += 1;
            }
            served
        });
    }
    let text = proxy.settings.text();
    for reload in 0..RELOADS {
        let timeout = 20_000 + reload;
        proxy
            .reload(&text.replace("backend_timeout_ms: 30s", &format!("backend_timeout_ms: {timeout}")), reload + 2)
            .await;
    }
    stop.0.send_replace(true);
    let served: Vec<u64> = wait::within_time(Duration::from_secs(120), "all clients", traffic.join_all()).await;
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    // Every snapshot but the last is freed when its requests have ended.
    let freed = RELOADS as usize;
    wait::until(wait::BOUND, "old snapshots to be freed", || async {
        (proxy.count("Configuration freed") >= freed).then_some(())
    })
    .await;
    assert_eq!(proxy.count("Configuration freed"), freed);
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_goes_on_in_both_directions_although_its_route_its_backend_and_connect_itself_are_removed() {
    let (origin, successor) = (Origin::h2c().await, Origin::h2c().await);
    let backends = [origin.url()];
    let allow = "resilience:\n  protocol: { allow_connect: true }";
    let proxy =
        Proxy::start(|settings| settings.upstream("all", "/", &backends).block(allow).workers(2).level("debug")).await;
    let connect = frame::headers(&[(":method", "CONNECT"), (":authority", "db.example:443")]);
    let connection = proxy.greeted().await;
    let mut tunnel = connection.request(&connect, false).await;
    assert_eq!(tunnel.frames.next().await.unwrap().kind, kind::HEADERS);
    let mut said = 0;
    let mut reloads = 1;
    for round in 0..3 {
        for size in [1, 100_000] {
            tunnel.write(&frame::frame(kind::DATA, &vec![round; size])).await;
            said += size;
        }
        let mut heard = 0;
        while heard < 100_001 {
            let frame = tunnel.frames.next().await.unwrap();
            assert!(frame.kind == kind::DATA && frame.payload.iter().all(|byte| *byte == round));
            heard += frame.payload.len();
        }
        reloads += 1;
        let text = proxy.settings.text().replace("allow_connect: true", "allow_connect: false");
        let text = text.replace("\"/\"", "\"/moved\"").replace(&origin.url(), &successor.url());
        proxy.reload(&text, reloads).await;
        let refused = connection.request(&connect, true).await.answer().await.unwrap();
        assert_eq!(refused.statuses(), ["405"], "the new configuration holds for what begins now");
    }
    // Each direction still ends independently.
    tunnel.end();
    assert_eq!(tunnel.answer().await.unwrap().body, b"");
    assert_eq!(said, 300_003);
    assert_eq!((origin.journal().now().requests.len(), successor.journal().now().connections), (1, 0));
    proxy.logged("Configuration freed (generation=1)", 1).await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_a_reload_goes_to_the_backends_that_the_request_began_with() {
    const REFUSED_STREAM: u32 = 7;
    let refusing = Script { after_request: true, ..Script::from(vec![Step::Reset(REFUSED_STREAM)]) };
    let (refusing, second) = (Rogue::start(Fault::Script(refusing)).await, Origin::h2c().await);
    let successors = [Origin::h2c().await, Origin::h2c().await];
    let backends = [refusing.url(), second.url()];
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).workers(2).level("debug")).await;
    let connection = proxy.connect().await;
    let mut upload = connection.open(http::Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
    upload.sending.data(vec![1; 1000]).await.unwrap();
    refusing.journal().until("the first attempt", |record| record.requests.len() == 1).await;
    assert_eq!(second.journal().now().connections, 0);
    let text = proxy.settings.text();
    let text = text.replace(&refusing.url(), &successors[0].url()).replace(&second.url(), &successors[1].url());
    let text = format!("{text}resilience:\n  retry_budget: {{ max_retries: 0 }}\n");
    proxy.reload(&text, 2).await;
    upload.sending.data(vec![1; 1000]).await.unwrap();
    upload.sending.finish().await.unwrap();
    let reply = upload.reading.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 2000));
    assert_eq!(second.journal().now().requests.len(), 1, "on a connection that was made after the reload");
    assert_eq!(successors.each_ref().map(|origin| origin.journal().now().connections), [0, 0]);
    proxy.logged("Configuration freed (generation=1)", 1).await;
    proxy.stop().await;
}

/// Adds a thousand upstreams, so that the reload takes longer.
fn with_upstreams(text: &str, backend: &str) -> String {
    let mut upstreams = String::from("upstream:\n");
    for number in 0..1000 {
        let backends = format!("backends: [ {{ id: b, address: \"{backend}\" }} ]");
        let _ = writeln!(upstreams, "  u{number}: {{ route: {{ path_prefix: \"/u{number}\" }}, {backends} }}");
    }
    text.replacen("upstream:\n", &upstreams, 1)
}

/// Waits until these upstreams were read. Their warnings are logged before the configuration takes effect.
async fn until_read(proxy: &Proxy) {
    let is_read = || async { (proxy.count("Backend 'b' in upstream 'u0' uses") > 0).then_some(()) };
    wait::until(wait::BOUND, "the file to be read", is_read).await;
}

/// When the stop signal is sent, relative to the reload.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// Before SIGHUP.
    Before,
    /// Directly after SIGHUP.
    Behind,
    /// After the file was read, while it takes effect.
    Within,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_reload_drains() {
    for (round, stop) in [Stop::Before, Stop::Behind, Stop::Within].into_iter().cycle().take(9).enumerate() {
        let origin = Origin::h2c().await;
        let backends = [origin.url()];
        let mut proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).workers(2)).await;
        let connection = proxy.connect().await;
        let request = waiting_at(&origin, &connection).await;
        let added = port::free();
        proxy.rewrite(&with_upstreams(&with_listener(&proxy.settings.text(), added), &origin.url()));
        match stop {
            Stop::Before => {
                proxy.program.signal(Signal::TERM);
                proxy.program.signal(Signal::HUP);
            }
            Stop::Behind => {
                proxy.program.signal(Signal::HUP);
                proxy.program.signal(Signal::TERM);
            }
            Stop::Within => {
                proxy.program.signal(Signal::HUP);
                until_read(&proxy).await;
                proxy.program.signal(Signal::TERM);
            }
        }
        proxy.program.line("Draining connections").await;
        origin.open_gate();
        assert_eq!(request.await.unwrap(), (200, "through".to_owned()), "{stop:?}");
        let status = proxy.program.exit(wait::BOUND).await;
        proxy.program.rest().await;
        assert_eq!(status.code(), Some(0), "round {round}, {stop:?}: {}", proxy.program.output());
        assert_eq!(proxy.count("Spooky shutdown complete"), 1, "{stop:?}");
        assert_eq!(proxy.count("Configuration reload failed"), 0, "{stop:?}");
        let ended =
            ["Configuration reloaded (generation=2)", "Configuration reload cancelled"].map(|end| proxy.count(end));
        match stop {
            Stop::Before => assert_eq!(ended, [0, 0], "a stop comes before a reload"),
            Stop::Behind => assert!(ended.iter().sum::<usize>() <= 1, "{ended:?}"),
            Stop::Within => assert_eq!(ended.iter().sum::<usize>(), 1, "as a whole or not at all: {ended:?}"),
        }
        std::net::UdpSocket::bind(added).expect("the port of the new listener is free");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reloads_disturbs_no_handshake() {
    const STORMS: usize = 300;
    const CLIENTS: usize = 4;
    let origin = Origin::h2c().await;
    let backends = [origin.url()];
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).workers(2)).await;
    // Every second configuration has another certificate and requires address validation.
    let other = Files::write(&proxy.authority, &proxy.authority.issue(&[NAME]));
    let one = proxy.settings.text();
    let (cert, key) = (other.dir().join("cert.pem"), other.dir().join("key.pem"));
    let tls = format!("  tls: {{ cert: \"{}\", key: \"{}\" }}", cert.display(), key.display());
    let old = one.lines().find(|line| line.starts_with("  tls: ")).unwrap();
    let two = one.replace(old, &tls).replace("performance:\n", "performance:\n  quic_retry: always\n");
    let (stop, addr) = (tokio::sync::watch::channel(false), proxy.settings.addr());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        // Each client keeps its tickets and tokens, so that it also resumes sessions.
        let (client, stopped) = (proxy.client(), stop.1.clone());
        clients.spawn(async move {
            let mut served = 0_usize;
            while !*stopped.borrow() {
                let connection = client.connect(addr, NAME).await;
                assert_eq!(connection.get("/").await.unwrap().text(), "hello");
                served += 1;
            }
            served
        });
    }
    for number in 0..STORMS {
        // Counted before the signal: the reload that it causes is then always a further one.
        let reloaded = proxy.count("Configuration reloaded");
        // Replaced atomically, so that a reload never reads a partial file.
        let next = proxy.dir().join("next.yaml");
        std::fs::write(&next, if number % 2 == 0 { &two } else { &one }).unwrap();
        std::fs::rename(&next, proxy.dir().join("spooky.yaml")).unwrap();
        proxy.program.signal(Signal::HUP);
        if number % 10 == 0 {
            let next = || async { (proxy.count("Configuration reloaded") > reloaded).then_some(()) };
            wait::until(wait::BOUND, "a further reload", next).await;
        }
    }
    stop.0.send_replace(true);
    let served = wait::within_time(Duration::from_secs(120), "all clients", clients.join_all()).await;
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    assert_eq!(proxy.count("Configuration reload failed"), 0);
    eprintln!("{served:?} connections over {} reloads", proxy.count("Configuration reloaded"));
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stop_ends_the_process_at_once_also_in_the_middle_of_a_reload() {
    let origin = Origin::h2c().await;
    let backends = [origin.url()];
    let mut within = 0;
    // The signal may also arrive while the file is being read, or after the reload.
    for _ in 0..20 {
        let mut proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends)).await;
        let connection = proxy.connect().await;
        let request = waiting_at(&origin, &connection).await;
        proxy.rewrite(&with_upstreams(&proxy.settings.text(), &origin.url()));
        proxy.program.signal(Signal::HUP);
        until_read(&proxy).await;
        proxy.program.signal(Signal::TERM);
        let seen = || async {
            let lines = [STOPS_LATER, "Draining connections"].map(|line| proxy.count(line));
            (lines != [0, 0]).then_some(lines)
        };
        let [later, _] = wait::until(wait::BOUND, "the first signal to be seen", seen).await;
        proxy.program.signal(Signal::TERM);
        assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(1), "{}", proxy.program.output());
        request.abort();
        within += later;
        if within > 0 {
            return;
        }
    }
    panic!("no signal came in the middle of a reload");
}
