//! Measures loading a file with 1000 upstreams of 10 backends. Run with `cargo bench -p spooky-config`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is the failure of a test"
)]

use std::fmt::Write;
use std::time::{Duration, Instant};

use spooky_config::{diff, parse};

fn text() -> String {
    let mut text = String::from("listen: { tls: { cert: c, key: k } }\nupstream:\n");
    for upstream in 0..1000 {
        let _ = writeln!(text, "  up-{upstream}:\n    route: {{ host: h{upstream}.example.com, path_prefix: /v1 }}");
        text.push_str("    load_balancing: { type: least-connections }\n    backends:\n");
        for backend in 0..10 {
            let _ = writeln!(
                text,
                "      - id: b-{backend}\n        address: \"https://10.0.{backend}.1:{}\"\n        weight: 10\n        \
                 health_check: {{ path: /health, interval: 5s, timeout_ms: 2000, expected_status: [\"200-299\"] }}",
                1000 + upstream
            );
        }
    }
    text
}

/// Returns the shortest of five runs.
fn shortest(mut work: impl FnMut()) -> Duration {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn main() {
    let text = text();
    let read = || match parse(&text, "bench", &|_| None) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    };
    let config = read();
    println!("{} bytes, {} upstreams", text.len(), config.upstreams.len());
    println!("parse     {:?}", shortest(|| drop(read())));
    println!("to_yaml   {:?}", shortest(|| drop(config.to_yaml())));
    println!("diff      {:?}", shortest(|| drop(diff(&config, &config))));
}
