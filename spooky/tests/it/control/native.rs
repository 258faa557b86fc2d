//! A real Prometheus scrapes native histograms from the metrics endpoint.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::{port, program, wait};

use super::rig::send;
use crate::proxy::Proxy;

const REQUESTS: u32 = 20;
/// Time for a scrape, which Prometheus makes every second, and for its start.
const BOUND: Duration = Duration::from_secs(60);

/// Starts Prometheus with this target, and waits until it answers.
async fn prometheus(path: &Path, folder: &Path, target: SocketAddr) -> (Program, SocketAddr) {
    let at = port::free();
    let config = folder.join("prometheus.yml");
    let text = format!(
        "scrape_configs: [{{ job_name: spooky, scrape_interval: 1s, static_configs: [{{ targets: [\"{target}\"] }}] }}]"
    );
    std::fs::write(&config, text).expect("write the configuration of Prometheus");
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={at}"),
        "--enable-feature=native-histograms".to_owned(),
    ];
    let mut program = Program::start(path, &arguments.each_ref().map(String::as_str));
    program.accepts(at).await;
    (program, at)
}

/// Returns the value of an expression, if it has one. All its characters must be allowed in a query or be escaped.
async fn value(at: SocketAddr, expression: &str) -> Option<f64> {
    let reply = send(at, "GET", &format!("/api/v1/query?query={expression}"), "", "").await;
    let answer: Value = serde_json::from_str(reply.text()).ok()?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[tokio::test]
async fn prometheus_computes_quantiles_from_native_histograms() {
    let Some(path) = program::require("prometheus") else { return };
    let (origin, at) = (Origin::h2c().await, port::free());
    let block = format!("observability:\n  metrics: {{ enabled: true, required: true, port: {} }}", at.port());
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).block(&block)).await;
    let connection = proxy.connect().await;
    for _ in 0..REQUESTS {
        connection.get("/").await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut prometheus, server) = prometheus(&path, folder.path(), at).await;
    // These functions have a result for native histograms only.
    let name = "spooky_http_request_duration_seconds%7Broute=%22all%22,protocol=%22h3%22%7D";
    let count = wait::until(BOUND, "the requests in Prometheus", || async {
        value(server, &format!("histogram_count({name})")).await.filter(|count| *count >= f64::from(REQUESTS))
    })
    .await;
    assert!(count <= f64::from(REQUESTS), "{count}");
    let sum = value(server, &format!("histogram_sum({name})")).await.unwrap();
    let [lowest, median, highest] = [0.0, 0.5, 1.0].map(|quantile| format!("histogram_quantile({quantile},{name})"));
    let [lowest, median, highest] = [
        value(server, &lowest).await.unwrap(),
        value(server, &median).await.unwrap(),
        value(server, &highest).await.unwrap(),
    ];
    assert!(0.0 <= lowest && lowest <= median && median <= highest, "{lowest} {median} {highest}");
    // The mean lies between the bounds of the outermost buckets.
    let mean = sum / count;
    assert!(lowest <= mean && mean <= highest, "{lowest} {mean} {highest}");
    assert_eq!(value(server, "up").await, Some(1.0), "{}", prometheus.output());
    assert_eq!(value(server, "spooky_requests_total").await, Some(f64::from(REQUESTS)));
    prometheus.stop().await;
    proxy.stop().await;
}
