//! HTTP/2 clients.

use http::{HeaderMap, HeaderValue, StatusCode};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::tcp::Reason;
use spooky_testkit::tcp::frames::{END_HEADERS, END_STREAM, Frames, head, kind};
use spooky_testkit::{program, wait};

use crate::proxy::{NAME, Proxy};

const REFUSED_STREAM: u32 = 7;

async fn debugged(origin: &Origin) -> Proxy {
    Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()])).await
}

#[tokio::test]
async fn curl_requests_uploads_and_downloads() {
    let origin = Origin::h2c().await;
    let proxy = debugged(&origin).await;
    let Some(curl) = proxy.curl() else { return };
    let reply = curl.run(&["--http2"], "/fields").await;
    assert_eq!((reply.code, reply.status_line()), (0, "HTTP/2 200"), "{}", reply.log);
    assert_eq!(reply.field("via"), "2.0 spooky");
    let fields = String::from_utf8(reply.body).unwrap();
    let port = format!("x-forwarded-port: {}", proxy.settings.addr().port());
    for field in ["via: 2.0 spooky", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: https", &port] {
        assert!(fields.contains(field), "{fields}");
    }
    proxy.logged("HTTP/2 request GET /fields", 1).await;
    let reply = curl.run(&["--http2"], "/bytes/3000000").await;
    assert_eq!(sha256(&reply.body), Pattern::sha256(3_000_000, 3_000_000));
    let body = proxy.dir().join("body");
    std::fs::write(&body, Pattern::bytes(7, 900_000)).unwrap();
    let body = format!("@{}", body.display());
    let reply = curl.run(&["--http2", "--data-binary", &body], "/digest").await;
    assert_eq!(String::from_utf8(reply.body).unwrap(), format!("900000 {}", Pattern::sha256(7, 900_000)));
    proxy.stop().await;
}

#[tokio::test]
async fn requests_of_a_connection_are_served_at_once() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http2().await;
    let waiting = connection.request("GET", "/gate").body(()).unwrap();
    let (waiting, _) = connection.open(waiting, true).await.unwrap();
    for length in [0, 1, 100, 70_000, 2_000_000] {
        let reply = connection.get(&format!("/chunks/{length}")).await.unwrap();
        assert_eq!(sha256(&reply.body), Pattern::sha256(length, length));
    }
    let body = Pattern::bytes(3, 700_000);
    assert_eq!(connection.post("/echo", body.to_vec(), None).await.unwrap().body, body);
    origin.open_gate();
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http2().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checked", HeaderValue::from_static("yes"));
    let reply = connection.post("/digest", vec![1; 1000], Some(trailers)).await.unwrap();
    assert_eq!(reply.field("x-trailer-x-checked"), "yes");
    let reply = connection.get("/trailers").await.unwrap();
    assert_eq!((reply.text(), &reply.trailers.as_ref().unwrap()["x-second"]), ("body", &HeaderValue::from_static("2")));
    proxy.stop().await;
}

#[tokio::test]
async fn an_early_answer_is_complete_before_the_upload_is_stopped() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http2().await;
    let reply = connection.post("/digest", vec![0; 1_500_000], None).await.unwrap();
    assert_eq!((reply.status, reply.text()), (StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n"));
    assert_eq!(connection.get("/").await.unwrap().text(), "hello", "the connection stays");

    // An upload that goes on.
    let request = connection.request("POST", "/early").body(()).unwrap();
    let (response, mut upload) = connection.open(request, false).await.unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    let stopped = wait::within("the end of the upload", std::future::poll_fn(|cx| upload.poll_reset(cx))).await;
    assert_eq!(stopped.unwrap(), Reason::NO_ERROR);
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn curl_shows_the_answer_to_an_upload_that_is_too_large() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let Some(curl) = proxy.curl() else { return };
    let body = proxy.dir().join("body");
    std::fs::write(&body, vec![0; 20_000_000]).unwrap();
    let body = format!("@{}", body.display());
    for version in ["--http2", "--http1.1"] {
        for more in ["content-type: text/plain", "transfer-encoding: chunked"] {
            let arguments = [version, "--data-binary", &body, "--header", more, "--header", "expect:"];
            let reply = curl.run(&arguments, "/digest").await;
            assert!(reply.status_line().contains(" 413"), "{version} {more}: {reply:?}");
            assert_eq!(String::from_utf8(reply.body).unwrap(), "request body too large\n");
        }
    }
    proxy.stop().await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_reset_and_nothing_else() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http2().await;
    let error = connection.get("/abort/500000").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{error}");
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    proxy.stop().await;
}

#[tokio::test]
async fn requests_above_the_limit_of_a_connection_are_refused_and_never_sent() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("quic_initial_max_streams_bidi: 3")
    })
    .await;
    let mut connection = Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &[]).await;
    for number in 0..5 {
        connection.send(&head(2 * number + 1, END_STREAM | END_HEADERS, "GET", "/gate")).await;
    }
    for stream in [7, 9] {
        let reset = connection.until(kind::RST_STREAM).await.unwrap();
        assert_eq!((reset.stream, reset.code()), (stream, REFUSED_STREAM));
    }
    origin.journal().until("the requests", |seen| seen.requests.len() == 3).await;
    origin.open_gate();
    for _ in 0..3 {
        connection.until(kind::HEADERS).await.unwrap();
    }
    assert_eq!(origin.journal().now().requests.len(), 3);
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn nghttp_fetches_many_files_on_one_connection() {
    let Some(nghttp) = program::require("nghttp") else { return };
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let base = format!("https://127.0.0.1:{}", proxy.settings.addr().port());
    let urls: Vec<_> = (0..60).map(|number| format!("{base}/bytes/{}", number * 1000)).collect();
    let mut nghttp = tokio::process::Command::new(nghttp);
    nghttp.args(["--null-out", "--stat", "--no-dep", "--window-bits=20"]).args(&urls).kill_on_drop(true);
    let output = wait::within("nghttp", nghttp.output()).await.unwrap();
    let stat = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stat}{}", String::from_utf8_lossy(&output.stderr));
    let served = stat.lines().filter(|line| line.contains(" 200 ") && line.contains("/bytes/")).count();
    assert_eq!(served, urls.len(), "{stat}");
    proxy.stop().await;
}
