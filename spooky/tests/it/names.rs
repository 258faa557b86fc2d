//! Backends given by name: the system's configuration is honoured, and names are followed when their addresses change
//! (docs/reference/behaviour.md#names-of-backends).
//!
//! The process runs in a mount namespace of its own with other `/etc/resolv.conf` and `/etc/hosts`, which needs root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use spooky_testkit::dns::{Answer, DnsServer};
use spooky_testkit::http1::{Http1Origin, OnPreface, answer};
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::wait;
use tempfile::TempDir;

use crate::proxy::{Proxy, SPOOKY};

/// The DNS server, and the files in place of those of `/etc`.
struct System {
    dns: DnsServer,
    folder: TempDir,
}

impl System {
    /// Returns `None`, saying so, if the tests do not run as root.
    async fn start(hosts: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can replace /etc/resolv.conf for a process");
            return None;
        }
        // A name server listens on port 53 of an address, so tests at the same time need different ones.
        let [.., third, fourth] = std::process::id().to_be_bytes();
        let mut last = fourth;
        let dns = loop {
            let addr = SocketAddr::from((Ipv4Addr::new(127, 53, third, last), 53));
            if tokio::net::UdpSocket::bind(addr).await.is_ok() {
                break DnsServer::start_at(addr).await;
            }
            last = last.wrapping_add(1);
        };
        let folder = tempfile::tempdir().unwrap();
        let text = format!("nameserver {}\noptions timeout:1 attempts:2\n", dns.addr().ip());
        fs::write(folder.path().join("resolv.conf"), text).unwrap();
        fs::write(folder.path().join("hosts"), hosts).unwrap();
        Some(Self { dns, folder })
    }

    fn hosts(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    async fn proxy(&self, adjust: impl Fn(Settings) -> Settings) -> Proxy {
        let bind = |name: &str| format!("mount --bind {}/{name} /etc/{name}", self.folder.path().display());
        let mounts = format!("{} && {}", bind("resolv.conf"), bind("hosts"));
        let run = |config: &Path| {
            let script = format!("{mounts} && exec {SPOOKY} --config {}", config.display());
            Program::start(Path::new("unshare"), &["--mount", "sh", "-c", &script])
        };
        Proxy::start_by(run, adjust, |text| text).await
    }
}

/// Starts an origin on 127.0.0.<host> that answers with `host`.
async fn origin(host: u8, port: u16) -> Http1Origin {
    let addr = SocketAddr::from(([127, 0, 0, host], port));
    Http1Origin::start_at(addr, OnPreface::Refuse, move |_, _| vec![answer(&host.to_string())]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_moves_is_followed_without_a_failed_request() {
    let Some(system) = System::start("").await else { return };
    let before = origin(2, 0).await;
    let port = before.addr().port();
    let after = origin(3, port).await;
    system.dns.set("api.test", &["127.0.0.2"], 1);
    let proxy =
        system.proxy(|settings| settings.workers(2).upstream("all", "/", &[format!("http://api.test:{port}")])).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (connection, is_over) = (proxy.connect().await, is_over.clone());
        clients.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let reply = connection.post("/", "body").await.unwrap();
                assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            }
        });
    }
    before.journal().until("requests", |record| record.requests.len() > 20).await;
    system.dns.set("api.test", &["127.0.0.3"], 1);
    after.journal().until("requests at the new address", |record| record.requests.len() > 20).await;
    let open = |record: &spooky_testkit::journal::Record| record.connections - record.closed;
    before.journal().until("the old connections to close", |record| open(record) == 0).await;
    is_over.store(true, Ordering::Relaxed);
    wait::within("all clients", clients.join_all()).await;
    let served = before.journal().now().requests.len();
    for _ in 0..5 {
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "3");
    }
    assert_eq!(before.journal().now().requests.len(), served);
    proxy.logged("Backend name api.test has other addresses addresses=127.0.0.3 before=127.0.0.2", 1).await;
    assert_eq!(proxy.count("Transport error"), 0);
    proxy.stop().await;
}

#[tokio::test]
async fn the_hosts_file_and_failures_of_dns() {
    let Some(system) = System::start("127.0.0.2 api.test\n").await else { return };
    let first = origin(2, 0).await;
    let port = first.addr().port();
    let second = origin(3, port).await;
    system.dns.set("other.test", &["127.0.0.3"], 1);
    let proxy = system
        .proxy(|settings| {
            settings
                .upstream("hosts", "/hosts", &[format!("http://api.test:{port}")])
                .upstream("dns", "/dns", &[format!("http://other.test:{port}")])
                .upstream("lost", "/lost", &[format!("http://lost.test:{port}")])
                .performance("backend_dns_refresh_interval_ms: 1s")
        })
        .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/hosts").await.unwrap().text(), "2");
    assert_eq!(connection.get("/dns").await.unwrap().text(), "3");
    let lost = connection.get("/lost").await.unwrap();
    assert_eq!((lost.status, lost.text()), (StatusCode::BAD_GATEWAY, "upstream error\n"));
    assert!(lost.field("proxy-status").contains("dns_error"), "{}", lost.field("proxy-status"));
    proxy.logged("Backend name lost.test does not resolve: ", 1).await;
    assert_eq!(system.dns.count("api.test"), 0);
    // Without an answer the known address stays.
    system.dns.answer("other.test", Answer::Silence);
    proxy.logged("Backend name other.test does not resolve: ", 1).await;
    assert_eq!(connection.get("/dns").await.unwrap().text(), "3");
    system.dns.set("other.test", &["127.0.0.3"], 1);
    proxy.logged("Backend name other.test resolves again", 1).await;
    // The file is read again.
    fs::write(system.hosts(), "127.0.0.3 api.test\n").unwrap();
    proxy.logged("Backend name api.test has other addresses addresses=127.0.0.3 before=127.0.0.2", 1).await;
    assert_eq!(connection.get("/hosts").await.unwrap().text(), "3");
    assert!(second.journal().now().requests.len() >= 3);
    proxy.stop().await;
}
