//! The export of spans: over HTTP, to a collector that is dead or stuck, at the end of the process, by the environment.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use spooky_testkit::origin::Origin;
use spooky_testkit::port;
use spooky_testkit::process::Program;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::collector::Collector;
use super::{CLIENT, get, traced};
use crate::proxy::{Proxy, SPOOKY};

#[tokio::test]
async fn spans_are_sent_over_http() {
    let (origin, collector) = (Origin::h2c().await, Collector::http().await);
    let proxy = traced(&[origin.url()], &collector.url(), ", protocol: http").await;
    get(&proxy.connect().await, "/", CLIENT).await;
    let spans = collector.spans(2).await;
    assert_eq!(spans[0].resource("service.name"), Some("spooky"));
}

#[tokio::test]
async fn spans_that_wait_are_sent_when_the_process_stops() {
    for protocol in ["grpc", "http"] {
        let origin = Origin::h2c().await;
        let collector = if protocol == "grpc" { Collector::grpc().await } else { Collector::http().await };
        let mut proxy = traced(&[origin.url()], &collector.url(), &format!(", protocol: {protocol}")).await;
        let connection = proxy.connect().await;
        for _ in 0..20 {
            get(&connection, "/", CLIENT).await;
        }
        drop(connection);
        assert!(proxy.program.stop().await.success());
        collector.spans(40).await;
    }
}

#[tokio::test]
async fn a_collector_that_is_dead_or_stuck_does_no_harm() {
    let origin = Origin::h2c().await;
    let stuck = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let accepts = stuck.local_addr().unwrap();
    for (addr, protocol) in [(port::free(), "grpc"), (port::free(), "http"), (accepts, "grpc"), (accepts, "http")] {
        let endpoint = format!("http://{addr}");
        let mut proxy = traced(&[origin.url()], &endpoint, &format!(", protocol: {protocol}")).await;
        let connection = proxy.connect().await;
        for _ in 0..5 {
            assert_eq!(get(&connection, "/", CLIENT).await.status, 200);
        }
        if addr != accepts {
            proxy.logged("Spans dropped: ", 1).await;
            assert_eq!(get(&connection, "/", CLIENT).await.status, 200);
        }
        drop(connection);
        let begin = Instant::now();
        assert!(proxy.program.stop().await.success());
        assert!(begin.elapsed() < Duration::from_secs(20), "{protocol} {addr}: {:?}", begin.elapsed());
        assert_eq!(proxy.count("Spans dropped: "), 1, "{}", proxy.program.output());
    }
}

#[tokio::test]
async fn the_environment_names_the_collector_if_the_file_does_not() {
    const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    let (origin, right, wrong) = (Origin::h2c().await, Collector::grpc().await, port::free());
    let wrong = format!("http://{wrong}");
    for (values, block) in [
        ([right.url(), String::new()], ""),
        ([wrong.clone(), right.url()], ""),
        ([wrong.clone(), wrong.clone()], &*format!(", otlp_endpoint: \"{}\"", right.url())),
    ] {
        let run = |path: &std::path::Path| {
            let mut command = Command::new(SPOOKY);
            command.env_remove("RUST_LOG").arg("--config").arg(path);
            for (name, value) in VARIABLES.iter().zip(&values) {
                command.env(name, value);
            }
            Program::spawn(command)
        };
        let block = format!("observability:\n  tracing: {{ enabled: true{block} }}");
        let backends = [origin.url()];
        let adjust = |settings: spooky_testkit::settings::Settings| settings.upstream("all", "/", &backends);
        let mut proxy = Proxy::start_by(run, |settings| adjust(settings).block(&block), |text| text).await;
        assert_eq!(proxy.count(&format!("endpoint={}", right.url())), 1, "{}", proxy.program.output());
        get(&proxy.connect().await, "/", CLIENT).await;
        assert!(proxy.program.stop().await.success());
    }
    right.spans(6).await;
}
