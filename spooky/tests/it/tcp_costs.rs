//! What TCP clients can hold that others need: file descriptors, memory of the kernel, backends of clients that are gone.

use std::path::Path;

use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::wait;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{Proxy, SPOOKY};

/// The state of a connection in which this side has ended it, and the end is not acknowledged (`include/net/tcp_states.h`).
const FIN_WAIT_1: &str = "04";

/// Returns the states of the connections of a local port for which the kernel has unsent bytes.
fn unsent(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the TCP connections of the system");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_port = lines.filter(|columns| columns[1].ends_with(&format!(":{port:04X}")));
    of_port.filter(|columns| !columns[4].starts_with("00000000:")).map(|columns| columns[3].to_owned()).collect()
}

#[tokio::test]
async fn the_kernel_forgets_what_clients_do_not_take() {
    let origin = Origin::h2c().await;
    let limits = "client_stall_timeout_ms: 3s\nclient_min_rate_bytes_per_sec: 0";
    let proxy =
        Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()]).performance(limits))
            .await;
    let port = proxy.settings.addr().port();
    // Of some of these lengths, the client's kernel does not take all, and this side's kernel takes the rest. Of the last one,
    // Spooky keeps a part.
    let mut clients = Vec::new();
    for length in (100_000..250_000).step_by(10_000).chain([50_000_000]) {
        let mut client = proxy.http1().await;
        let request = format!("GET /bytes/{length} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        client.send(request).await;
        clients.push(client);
    }
    let has_ended = || unsent(port).iter().any(|state| state == FIN_WAIT_1);
    wait::until(wait::BOUND, "an end behind unsent bytes", || async { has_ended().then_some(()) }).await;
    let is_closed = || proxy.count("Connection closed: in order") > 0;
    wait::until(wait::BOUND, "a closed connection", || async { is_closed().then_some(()) }).await;
    wait::until(wait::BOUND, "the kernel to forget", || async { unsent(port).is_empty().then_some(()) }).await;
    assert!(proxy.count("client_stall_timeout_ms expired") > 0);
    drop(clients);
    proxy.stop().await;
}

#[tokio::test]
async fn a_reset_is_noticed_although_the_socket_is_not_read() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let (mut ahead, mut ended) = (proxy.http1().await, proxy.http1().await);
    for client in [&mut ahead, &mut ended] {
        client.send("GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    }
    origin.journal().until("the requests", |seen| seen.requests.len() == 2).await;
    // One has sent more requests than are read; of the other, nothing more is awaited.
    ahead.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(5000)).await;
    ended.stream().shutdown().await.unwrap();
    for tls in [ahead.into_stream(), ended.into_stream()] {
        tls.get_ref().0.set_zero_linger().unwrap();
    }
    origin.journal().until("cancelled requests", |seen| seen.cancelled == 2).await;
    proxy.stop().await;
}

#[tokio::test]
async fn clients_do_not_get_the_last_file_descriptors() {
    let origin = Origin::http1().await;
    let few = |file: &Path| {
        let mut command = tokio::process::Command::new("sh");
        let start = format!("ulimit -n 120; exec {SPOOKY} --config {}", file.display());
        command.args(["-c", &start]).env_remove("RUST_LOG");
        Program::spawn(command)
    };
    let adjust = |settings: Settings| settings.protocol("http1").upstream("all", "/", &[origin.url()]);
    let proxy = Proxy::start_by(few, adjust, |text| text).await;
    proxy.logged("At most 40 TCP clients are served: the limit of file descriptors is 120", 1).await;
    let mut http1 = proxy.http1().await;
    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(TcpStream::connect(proxy.settings.addr()).await.unwrap());
    }
    wait::until(wait::BOUND, "a refusal", || async { (proxy.count("too few file descriptors") > 0).then_some(()) })
        .await;
    assert_eq!(http1.get("/").await.text(), "hello", "over a new connection to the backend");
    drop(idle);
    proxy.stop().await;
}

/// An orderly end would be behind an upload that the backend does not read.
#[tokio::test]
async fn a_backend_that_does_not_read_sees_at_once_that_the_client_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy =
        Proxy::start(|settings| settings.protocol("http1").upstream("all", "/", std::slice::from_ref(&url))).await;
    let mut http1 = proxy.http1().await;
    http1.send("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\n").await;
    let (mut backend, _) = wait::within("a connection to the backend", listener.accept()).await.unwrap();
    http1.send(vec![0; 500_000]).await;
    drop(http1);
    let read = wait::within("the end", tokio::io::copy(&mut backend, &mut tokio::io::sink())).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    proxy.stop().await;
}
