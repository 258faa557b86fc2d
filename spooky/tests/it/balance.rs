//! Load balancing: all algorithms and their names, weights, keys, sticky connections
//! (docs/reference/behaviour.md#load-balancing).

use std::collections::{HashMap, HashSet};

use http::{Request, StatusCode};
use spooky_testkit::client::Connection;
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::fixed;
use spooky_testkit::{port, wait};

use crate::proxy::Proxy;
use crate::relay::Relay;

const WORDS: [&str; 17] = [
    "round-robin",
    "round_robin",
    "rr",
    "random",
    "consistent-hash",
    "consistent_hash",
    "ch",
    "least-connections",
    "least_connections",
    "lc",
    "latency-aware",
    "latency_aware",
    "la",
    "sticky-cid",
    "sticky_cid",
    "cid-sticky",
    "cid_sticky",
];

/// Starts origins that answer with their names.
async fn abc() -> [Origin; 3] {
    let named = |name| Origin::with(fixed(StatusCode::OK, name));
    [named("a").await, named("b").await, named("c").await]
}

fn urls(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(Origin::url).collect()
}

async fn ask(connection: &Connection, path: &str, field: Option<(&str, &str)>) -> String {
    let mut request = Request::get(format!("https://localhost{path}"));
    if let Some((name, value)) = field {
        request = request.header(name, value);
    }
    let reply = connection.send(request.body("".into()).unwrap()).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.text().to_owned()
}

async fn counts(connection: &Connection, path: &str, requests: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        *counts.entry(ask(connection, path, None).await).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn every_name_of_every_algorithm_serves_from_all_backends_it_should() {
    let origins = abc().await;
    let backends = urls(&origins);
    let proxy = Proxy::start(|mut settings| {
        for (number, word) in WORDS.iter().enumerate() {
            let more = format!("load_balancing: {{ type: {word} }}");
            settings = settings.upstream_with(&format!("u{number}"), &format!("/{number}"), &backends, &more);
        }
        settings
    })
    .await;
    let connection = proxy.connect().await;
    for (number, word) in WORDS.iter().enumerate() {
        let seen = counts(&connection, &format!("/{number}"), 60).await;
        let is_keyed = word.starts_with('c') || word.starts_with("sticky");
        assert_eq!(seen.len(), if is_keyed { 1 } else { 3 }, "{word}: {seen:?}");
    }
}

#[tokio::test]
async fn weights_are_shares() {
    let origins = abc().await;
    let backends = urls(&origins);
    let start = Proxy::start_edited(
        |settings| {
            settings
                .upstream_with("turns", "/turns", &backends, "load_balancing: { type: rr }")
                .upstream_with("chance", "/chance", &backends, "load_balancing: { type: random }")
                .upstream_with("keys", "/keys", &backends, "load_balancing: { type: ch, key: \"header:x-key\" }")
        },
        |text| {
            text.replace("{ id: b1,", "{ id: b1, weight: 3,")
                .replace("{ id: b2,", "{ id: b2, weight: 2,")
                .replace("{ id: b3,", "{ id: b3, weight: 1,")
        },
    );
    let proxy = start.await;
    let connection = proxy.connect().await;
    let exact = counts(&connection, "/turns", 60).await;
    assert_eq!((exact["a"], exact["b"], exact["c"]), (30, 20, 10));
    // 600 draws: five standard deviations of a share are below 60.
    let near = |share: usize, expected: usize| share.abs_diff(expected) < 60;
    let drawn = counts(&connection, "/chance", 600).await;
    assert!(near(drawn["a"], 300) && near(drawn["b"], 200) && near(drawn["c"], 100), "{drawn:?}");
    let mut keyed: HashMap<String, usize> = HashMap::new();
    for key in 0..600 {
        *keyed.entry(ask(&connection, "/keys", Some(("x-key", &key.to_string()))).await).or_default() += 1;
    }
    assert!(near(keyed["a"], 300) && near(keyed["b"], 200) && near(keyed["c"], 100), "{keyed:?}");
}

#[tokio::test]
async fn a_key_stays_with_its_backend_and_a_missing_one_is_the_client() {
    let origins = abc().await;
    let backends = urls(&origins);
    let by = |key: &str| format!("load_balancing: {{ type: consistent-hash, key: \"{key}\" }}");
    let proxy = Proxy::start(|settings| {
        settings
            .upstream_with("header", "/header", &backends, &by("header:X-Tenant"))
            .upstream_with("cookie", "/cookie", &backends, &by("cookie:session"))
            .upstream_with("query", "/query", &backends, &by("query:user"))
            .upstream_with("path", "/path", &backends, &by("path"))
            .upstream_with("cid", "/cid", &backends, &by("cid"))
            .upstream_with("client", "/", &backends, &by("client-ip"))
    })
    .await;
    let (one, two) = (proxy.connect().await, proxy.connect().await);
    let client = ask(&one, "/", None).await;
    assert_eq!(ask(&two, "/", None).await, client, "another connection of the same address");
    let mut seen: [HashSet<String>; 4] = Default::default();
    for number in 0..40 {
        let value = format!("v{number}");
        let cookie = format!("other=1; session={value}");
        let cases = [
            ("/header".to_owned(), Some(("x-tenant", value.as_str()))),
            ("/cookie".to_owned(), Some(("cookie", cookie.as_str()))),
            (format!("/query?a=b&user={value}"), None),
            (format!("/path/{value}?{number}"), None),
        ];
        for ((path, field), seen) in cases.into_iter().zip(&mut seen) {
            let name = ask(&one, &path, field).await;
            assert_eq!(ask(&two, &path, field).await, name, "{path} {value}");
            seen.insert(name);
        }
    }
    assert!(seen.iter().all(|names| names.len() == 3), "{seen:?}");
    assert_eq!(ask(&one, "/path/x/../v0?7", None).await, ask(&one, "/path/v0", None).await, "the matching form");
    for path in ["/header", "/cookie", "/query?user2=1"] {
        assert_eq!(ask(&one, path, None).await, client, "{path} without its key");
    }
    assert_eq!(counts(&one, "/cid", 10).await.len(), 1);
}

#[tokio::test]
async fn a_connection_keeps_its_backend_and_after_its_loss_the_next() {
    let origins = abc().await;
    let (first, second) = (port::free(), port::free());
    let backends = [format!("http://{first}"), format!("http://{second}")];
    let relays = [Relay::open(first, origins[0].addr()).await, Relay::open(second, origins[1].addr()).await];
    let proxy = Proxy::start(|settings| {
        let more = "load_balancing: { type: sticky-cid }\npassive_health: { enabled: false }";
        settings
            .upstream_with("all", "/", &backends, more)
            .block("resilience:\n  circuit_breaker: { enabled: false }\n  retry_budget: { enabled: false }")
    })
    .await;
    // Connections with each of the backends.
    let mut connections = Vec::new();
    let mut names = HashSet::new();
    while names.len() < 2 {
        assert!(connections.len() < 64, "all connections use {names:?}");
        let connection = proxy.connect().await;
        let name = ask(&connection, "/", None).await;
        for _ in 0..10 {
            assert_eq!(ask(&connection, "/", None).await, name);
        }
        names.insert(name.clone());
        connections.push((connection, name));
    }
    let [relay, _other] = relays;
    relay.close().await;
    for (connection, _) in &connections {
        assert_eq!(ask(connection, "/", None).await, "b", "the only one left");
    }
    let _relay = Relay::open(first, origins[0].addr()).await;
    // New connections use the first backend again; connections that have moved keep their new backend.
    wait::until(wait::BOUND, "the first backend to be used again", || {
        Box::pin(async {
            let connection = proxy.connect().await;
            (ask(&connection, "/", None).await == "a").then_some(())
        })
    })
    .await;
    for (connection, was) in &connections {
        assert_eq!(ask(connection, "/", None).await, "b", "it was {was} at first");
    }
}

#[tokio::test]
async fn in_panic_health_is_ignored() {
    let failing = Origin::with(fixed(StatusCode::INTERNAL_SERVER_ERROR, "broken")).await;
    let other = Origin::with(fixed(StatusCode::INTERNAL_SERVER_ERROR, "broken")).await;
    let backends = [failing.url(), other.url()];
    let proxy = Proxy::start(|settings| {
        let health =
            "passive_health: { failure_threshold: 1, cooldown_ms: 60s, count_5xx: true, max_ejected_percent: 100 }";
        let panic = format!("{health}\nload_balancing: {{ type: rr, panic_threshold_percent: 50 }}");
        settings.upstream_with("calm", "/", &backends, health).upstream_with("panic", "/panic", &backends, &panic)
    })
    .await;
    let connection = proxy.connect().await;
    for path in ["/", "/panic"] {
        for _ in 0..2 {
            assert_eq!(connection.get(path).await.unwrap().text(), "broken");
        }
    }
    assert_eq!(connection.get("/").await.unwrap().text(), "no healthy servers\n");
    for _ in 0..10 {
        assert_eq!(connection.get("/panic").await.unwrap().text(), "broken");
    }
    proxy.logged("no healthy backends available: 0/2 backends healthy", 1).await;
}
