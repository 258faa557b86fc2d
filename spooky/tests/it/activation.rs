//! Socket activation: the service manager binds, Spooky serves (docs/operate/reload-upgrade.md).

use std::path::Path;

use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::program;

use crate::proxy::{Proxy, SPOOKY};
use crate::upgrade::Upgraded;

/// Binds UDP and TCP sockets on the address in the configuration, as often as asked, and starts Spooky with them.
const MANAGER: &str = r#"
import os, re, socket, sys
spooky, config, udp, tcp = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
port = int(re.search(r"port: (\d+)", open(config).read()).group(1))
sockets = []
for kind, count in ((socket.SOCK_DGRAM, udp), (socket.SOCK_STREAM, tcp)):
    for _ in range(count):
        s = socket.socket(socket.AF_INET, kind)
        if count > 1:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            s.listen()
        sockets.append(s)
copies = [os.dup(os.dup(s.fileno())) for s in sockets]
for number, copy in enumerate(copies):
    os.dup2(copy, 100 + number)
for number in range(len(copies)):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(copies)), LISTEN_FDNAMES=":".join(["spooky"] * len(copies)))
os.execv(spooky, [spooky, "--config", config])
"#;

/// Starts with this number of UDP and TCP sockets.
async fn start(python: &Path, origin: &Origin, workers: usize, udp: usize, tcp: usize) -> Proxy {
    let run = |config: &Path| {
        let (udp, tcp) = (udp.to_string(), tcp.to_string());
        Program::start(python, &["-c", MANAGER, SPOOKY, config.to_str().unwrap(), &udp, &tcp])
    };
    Proxy::start_by(run, |settings| settings.workers(workers).upstream("all", "/", &[origin.url()]), |text| text).await
}

async fn serves(proxy: &Proxy) {
    for _ in 0..8 {
        let connection = proxy.connect().await;
        assert_eq!(connection.post("/echo", vec![7; 50_000]).await.unwrap().body.len(), 50_000);
        assert_eq!(proxy.http1().await.get("/").await.text(), "hello");
    }
    assert_eq!(proxy.http2().await.get("/").await.unwrap().text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_use_the_sockets_of_the_service_manager() {
    let Some(python) = program::require_python() else { return };
    let origin = Origin::h2c().await;
    for (workers, udp, tcp) in [(1, 1, 1), (2, 2, 2), (3, 1, 1), (2, 1, 0)] {
        let proxy = start(&python, &origin, workers, udp, tcp).await;
        serves(&proxy).await;
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_such_sockets_can_be_replaced() {
    let Some(python) = program::require_python() else { return };
    let origin = Origin::h2c().await;
    let mut upgraded = Upgraded::new(start(&python, &origin, 2, 1, 1).await);
    for _ in 0..2 {
        upgraded.upgrade().await;
        serves(&upgraded.proxy).await;
    }
    upgraded.stop().await;
}
