//! Log messages about requests and backends, and their protection against clients.

use spooky_testkit::{certs::Authority, origin::Origin, port, wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{health::probed, proxy::Proxy};

#[tokio::test]
async fn at_haunt_each_request_tells_its_way_and_at_info_none_does() {
    let origin = Origin::h2c().await;
    for (level, told) in [("haunt", true), ("info", false)] {
        let proxy = Proxy::start(|settings| {
            let keyed = "load_balancing: { type: consistent-hash, key: \"header:x-tenant\" }";
            settings.level(level).upstream("api", "/status", &[origin.url()]).upstream_with(
                "keyed",
                "/echo",
                &[origin.url()],
                keyed,
            )
        })
        .await;
        let connection = proxy.connect().await;
        assert_eq!(connection.get("/status/204?q='1'").await.unwrap().status, 204);
        assert_eq!(connection.post("/echo/x", b"x".to_vec()).await.unwrap().status, 200);
        assert_eq!(connection.get("/elsewhere").await.unwrap().status, 404);
        let url = origin.url();
        let lines = [
            "DEBUG spooky::exchange::log: HTTP/3 request GET /status/204?q=\\x271\\x27".to_owned(),
            format!("Selected backend {url} via round-robin route=api path_len=7 host_specific=false reason=only"),
            "Upstream api status 204 latency_ms=".to_owned(),
            "HTTP/3 request POST /echo/x".to_owned(),
            format!(
                "Selected backend {url} via consistent-hash route=keyed path_len=5 host_specific=false reason=only \
                 request_hash_key="
            ),
            "No route found for path: /elsewhere (host: Some(\"localhost\"))".to_owned(),
            "Answered by Spooky: status=404 reason=\"no route\" request_id=".to_owned(),
        ];
        // At info. The process has ended, so the log is complete.
        if told {
            for line in &lines {
                proxy.logged(line, 1).await;
            }
            proxy.stop().await;
        } else {
            let mut proxy = proxy;
            proxy.program.stop().await;
            proxy.program.rest().await;
            for line in &lines {
                assert_eq!(proxy.count(line), 0, "{line}");
            }
            assert_eq!(proxy.count(" DEBUG "), 0);
        }
    }
}

#[tokio::test]
async fn at_whisper_the_log_shows_the_inside_of_quic_and_at_haunt_it_does_not() {
    let origin = Origin::h2c().await;
    for (level, shown) in [("whisper", true), ("haunt", false)] {
        let mut proxy = Proxy::start(|settings| settings.level(level).upstream("all", "/", &[origin.url()])).await;
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        proxy.program.stop().await;
        proxy.program.rest().await;
        assert_eq!(proxy.count(" TRACE quinn_proto::") > 0, shown, "{level}");
    }
}

#[tokio::test]
async fn failures_of_backends_are_named_and_bounded() {
    let (origin, dead) = (Origin::h2c().await, port::free());
    let proxy = Proxy::start_edited(
        |settings| {
            settings
                .upstream("dead", "/dead", &[format!("http://{dead}")])
                .upstream_with(
                    "slow",
                    "/hold",
                    &[origin.url()],
                    "timeouts: { connect_ms: 2s, response_ms: 2s, first_byte_ms: 5s, total_ms: 20s }",
                )
                .upstream_with("reset", "/reset", &[origin.url()], "passive_health: { enabled: false }")
                .block("resilience:\n  retry_budget: { max_retries: 0 }\n  circuit_breaker: { enabled: false }")
        },
        |text| text,
    )
    .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/dead").await.unwrap().status, 502);
    let names = format!("backend=http://{dead} upstream=dead id=b1");
    proxy.logged(&format!("WARN spooky::exchange::log: Transport error: send: connection refused {names}"), 1).await;
    assert_eq!(connection.get("/hold").await.unwrap().status, 503);
    let names = format!("backend={} upstream=slow id=b1", origin.url());
    proxy.logged(&format!("WARN spooky::exchange::log: Backend timeout {names} phase=response"), 1).await;

    // Each request causes one failure. At most ten per second are logged.
    let before = std::time::Instant::now();
    for _ in 0..200 {
        assert!(connection.get("/dead").await.unwrap().status.is_server_error());
    }
    let seconds = usize::try_from(before.elapsed().as_secs()).unwrap() + 2;
    let lines = proxy.count("Transport error: send: ");
    assert!(lines <= seconds * 10, "{lines} lines in {seconds} s");
    proxy.stop().await;
}

/// Starts an HTTP/1 server, which answers the HTTP/2 preface with 400.
async fn http1() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 16];
                if stream.read_exact(&mut request).await.is_ok() {
                    let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
                    // Unread data would turn the close into a reset, which could lose the answer.
                    let _gone = stream.shutdown().await;
                    let _gone = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_backend_that_speaks_something_else_is_told_in_words_that_help() {
    let authority = Authority::new();
    let (http1, h2c, tls) = (http1().await, Origin::h2c().await, Origin::tls(&authority.issue(&["127.0.0.1"])).await);
    let (to_cleartext, to_tls) = (h2c.url().replace("http://", "https://"), tls.url().replace("https://", "http://"));
    let proxy = Proxy::start(|settings| {
        settings
            .protocol("h2")
            .upstream("old", "/old", std::slice::from_ref(&http1))
            .protocol("auto")
            .upstream_with("clear", "/clear", std::slice::from_ref(&to_cleartext), "tls: { use_system_roots: true }")
            .upstream("secret", "/secret", std::slice::from_ref(&to_tls))
    })
    .await;
    let connection = proxy.connect().await;
    for (path, address, upstream, reason) in [
        ("/old", &http1, "old", "backend answered HTTP/1.x, HTTP/2 expected"),
        ("/clear", &to_cleartext, "clear", "backend speaks cleartext; write http://"),
        ("/secret", &to_tls, "secret", "backend speaks TLS; write https://"),
    ] {
        assert_eq!(connection.get(path).await.unwrap().status, 502, "{path}");
        let line = format!("Backend {address} became unreachable upstream={upstream} id=b1 reason={reason}");
        proxy.logged(&line, 1).await;
    }
    proxy.stop().await;
}

#[tokio::test]
async fn a_failed_probe_says_of_which_backend_and_why() {
    let (http1, dead, origin) = (http1().await, format!("http://{}", port::free()), Origin::h2c().await);
    let proxy = Proxy::start_edited(
        |settings| {
            settings
                .protocol("h2")
                .upstream("old", "/old", std::slice::from_ref(&http1))
                .upstream("dead", "/dead", std::slice::from_ref(&dead))
                .upstream("wrong", "/", &[origin.url()])
        },
        |text| probed(&text, "path: /status/404, interval: 50, timeout_ms: 5s"),
    )
    .await;
    for (address, upstream, reason) in [
        (&http1, "old", "backend answered HTTP/1.x, HTTP/2 expected"),
        (&dead, "dead", "Connection refused (os error 111)"),
        (&origin.url(), "wrong", "unexpected status 404"),
    ] {
        let line = format!("WARN spooky::probe: Probe of {address} failed upstream={upstream} id=b1 reason={reason}");
        wait::until(wait::BOUND, &line, || async { (proxy.count(&line) > 0).then_some(()) }).await;
        assert_eq!(proxy.count(&line), 1, "{line}");
    }
    proxy.stop().await;
}
