//! The metrics endpoint.

use spooky_testkit::origin::Origin;
use spooky_testkit::port;
use spooky_testkit::tcp::Http1;
use tokio::net::TcpStream;

use super::rig::send;
use crate::proxy::Proxy;

#[tokio::test]
async fn the_endpoint_has_one_path_and_three_forms() {
    let (origin, at) = (Origin::h2c().await, port::free());
    let block =
        format!("observability:\n  metrics: {{ enabled: true, required: true, port: {}, path: /m }}", at.port());
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).block(&block)).await;
    proxy.logged(&format!("Metrics endpoint listening on http://{at}/m"), 1).await;
    proxy.connect().await.get("/").await.unwrap();

    let text = send(at, "GET", "/m", "", "").await;
    assert_eq!(text.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.text().contains("\nspooky_requests_total 1\n"), "{}", text.text());
    assert!(text.text().contains("\nspooky_control_api_connection_limit_drops_total 0\n"), "{}", text.text());
    let old = "\nspooky_health_checks_success ";
    assert!(text.text().contains(old));
    let current = send(at, "GET", "/m?names=current", "", "").await;
    assert!(!current.text().contains(old));
    let open = send(at, "GET", "/m", "accept: application/openmetrics-text;version=1.0.0\r\n", "").await;
    assert_eq!(open.field("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text().ends_with("# EOF\n") && !open.text().contains(old));

    for path in ["/", "/metrics", "/m/", "/health"] {
        let reply = send(at, "GET", path, "", "").await;
        assert_eq!((reply.status(), reply.text().trim()), (404, "not found"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = send(at, method, "/m", "", "").await;
        assert_eq!((reply.status(), reply.field("allow").as_str()), (405, "GET, HEAD"), "{method}");
    }
    let mut connection = Http1::over(TcpStream::connect(at).await.unwrap());
    connection.send(format!("HEAD /m HTTP/1.1\r\nhost: {at}\r\n\r\n")).await;
    let head = connection.try_head().await.unwrap();
    assert!(head.status() == 200 && head.field("content-length").parse::<usize>().unwrap() > 1000, "{head:?}");
    // The connection stays open, and no body is in the way.
    assert_eq!(connection.get("/m").await.status(), 200);
    proxy.stop().await;
}
