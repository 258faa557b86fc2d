//! The commands of docs/guide/websocket-grpc-sse.md.

use std::net::SocketAddr;

use spooky_testkit::process::Program;
use spooky_testkit::{port, program};

use super::Page;

/// Writes the server and the configuration of the next example, and starts both.
async fn start(page: &mut Page, server: &str, addr: SocketAddr) -> [Program; 2] {
    page.run(&format!("cat > {server}.py")).await;
    let server = page.serve("", addr).await;
    page.run("cat > ").await;
    [server, page.spooky().await]
}

async fn stop([_, mut spooky]: [Program; 2]) {
    assert_eq!(spooky.stop().await.code(), Some(0), "{}", spooky.output());
}

/// Returns the value of a field in what `curl --include` wrote.
fn field<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn the_commands_about_open_streams_do_what_the_page_says() {
    let Some(python) = program::require_python() else { return };
    for name in ["openssl", "curl"] {
        if program::require(name).is_none() {
            return;
        }
    }
    let mut page = Page::open("websocket-grpc-sse.md");
    page.install();
    page.replace("python3 ", &format!("{} ", python.display()));
    let [sockets, calls, events, proxy] = [(); 4].map(|()| port::free());
    for (text, addr) in [("8081", sockets), ("50051", calls), ("8082", events), ("9889", proxy)] {
        page.replace(text, &addr.port());
    }
    page.run("openssl req").await;

    let programs = start(&mut page, "echo", sockets).await;
    let shown = page.run("curl ").await;
    assert!(shown.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{shown}");
    // The value of RFC 6455 section 1.3.
    assert_eq!(field(&shown, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(page.run("cat > talk.py").await, "hello\n");
    stop(programs).await;

    let programs = start(&mut page, "greeter", calls).await;
    assert_eq!(page.run("cat > greet.py").await, "hello Alice\nhello Bob\n");
    let shown = page.run("curl ").await;
    assert!(shown.starts_with("HTTP/2 200 \r\n"), "{shown}");
    assert_eq!((field(&shown, "grpc-status"), field(&shown, "grpc-message")), (Some("12"), Some("no route")));
    stop(programs).await;

    let programs = start(&mut page, "clock", events).await;
    let ticks = "data: tick 0\n\ndata: tick 1\n\ndata: tick 2\n\n";
    assert_eq!(page.run("curl ").await, ticks);
    let shown = page.run("curl ").await;
    assert_eq!(field(&shown, "x-accel-buffering"), Some("no"), "{shown}");
    assert_eq!(field(&shown, "transfer-encoding"), Some("chunked"), "{shown}");
    assert!(shown.ends_with(ticks), "{shown}");
    stop(programs).await;
    assert_eq!(page.blocks, [""; 0], "every command was run");
}
