//! The resolver with a DNS server on loopback.

use std::{fs, path::Path, sync::Mutex, task::Waker};

use spooky_testkit::{
    dns::{Answer, DnsServer},
    wait,
};
use tokio::task::JoinHandle;

use super::*;
use crate::names::WatchedName;

/// A resolver that runs, with its files and its reports.
struct Running {
    table: Arc<NameTable>,
    folder: tempfile::TempDir,
    reports: Arc<Mutex<Vec<NameEvent>>>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(server: &DnsServer, refresh: Option<Duration>, hosts: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = SystemFiles {
            resolv_conf: folder.path().join("resolv.conf"),
            hosts: folder.path().join("hosts"),
            port: server.addr().port(),
        };
        let options = "options timeout:1 attempts:1\nsearch example.test";
        fs::write(&files.resolv_conf, format!("nameserver {}\n{options}\n", server.addr().ip())).unwrap();
        fs::write(&files.hosts, hosts).unwrap();
        let table = Arc::new(NameTable::default());
        table.configure(refresh);
        let reports: Arc<Mutex<Vec<NameEvent>>> = Arc::default();
        let reporting = reports.clone();
        let resolver = Resolver::new(table.clone(), files);
        let task = tokio::spawn(resolver.run(move |event| reporting.lock().unwrap().push(event)));
        Self { table, folder, reports, task }
    }

    fn watch(&self, host: &str) -> WatchedName {
        self.table.watch(host, Waker::noop().clone())
    }

    fn hosts(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until the name has these addresses.
async fn resolves_to(name: &WatchedName, expected: &[&str]) {
    let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
    let what = format!("{expected:?}");
    wait::until(wait::BOUND, &what, || async { (*name.current().0.addresses == *expected).then_some(()) }).await;
}

#[tokio::test]
async fn a_name_is_looked_up_again_when_its_ttl_ends() {
    let server = DnsServer::start().await;
    server.set("api.test", &["127.0.0.1", "127.0.0.2"], 1);
    server.set("slow.test", &["127.0.0.9"], 3600);
    let running = Running::start(&server, Some(Duration::from_secs(3600)), "");
    let (api, slow) = (running.watch("api.test"), running.watch("slow.test"));
    resolves_to(&api, &["127.0.0.1", "127.0.0.2"]).await;
    resolves_to(&slow, &["127.0.0.9"]).await;
    server.set("api.test", &["127.0.0.2", "127.0.0.3"], 1);
    resolves_to(&api, &["127.0.0.2", "127.0.0.3"]).await;
    server.asked("api.test", 6).await;
    assert_eq!(server.count("slow.test"), 2, "one query for each family");
    let reports = running.reports.lock().unwrap().clone();
    let changed = |host: &str, addresses: &[&str], before: &[&str]| {
        let ips = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        NameEvent::Changed { host: host.to_owned(), addresses: ips(addresses), before: ips(before) }
    };
    assert_eq!(
        reports.iter().filter(|event| matches!(event, NameEvent::Changed { host, .. } if host == "api.test")).count(),
        2
    );
    assert!(
        reports.contains(&changed("api.test", &["127.0.0.2", "127.0.0.3"], &["127.0.0.1", "127.0.0.2"])),
        "{reports:?}"
    );
    assert!(reports.contains(&changed("slow.test", &["127.0.0.9"], &[])));
    // A name that nobody watches is not looked up.
    drop(api);
    server.asked("slow.test", 2).await;
    let before = server.count("api.test");
    slow.request_lookup();
    server.asked("slow.test", 4).await;
    assert!(server.count("api.test") <= before + 2, "one lookup may have been in progress");
}

#[tokio::test]
async fn failures_keep_the_addresses_and_are_reported_once() {
    let server = DnsServer::start().await;
    server.set("api.test", &["127.0.0.1"], 1);
    let running = Running::start(&server, Some(Duration::from_secs(1)), "");
    let api = running.watch("api.test");
    resolves_to(&api, &["127.0.0.1"]).await;
    for answer in [Answer::Failure, Answer::NoSuchName, Answer::Silence] {
        server.answer("api.test", answer.clone());
        let version = api.version();
        wait::until(wait::BOUND, "two lookups", || async { (api.version() >= version + 2).then_some(()) }).await;
        let (resolution, _) = api.current();
        assert_eq!(resolution.addresses.len(), 1, "{answer:?}");
        assert!(resolution.error.is_some(), "{answer:?}");
    }
    server.set("api.test", &["127.0.0.1"], 1);
    wait::until(wait::BOUND, "the end of the failures", || async { api.current().0.error.is_none().then_some(()) })
        .await;
    let reports = running.reports.lock().unwrap().clone();
    let [NameEvent::Changed { .. }, NameEvent::Failed { kept: 1, .. }, NameEvent::Recovered { host }] = &reports[..]
    else {
        panic!("{reports:?}")
    };
    assert_eq!(host, "api.test");
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again() {
    let server = DnsServer::start().await;
    server.set("api.test", &["127.0.0.9", "::9"], 1);
    server.set("other.test", &["127.0.0.8"], 1);
    let running = Running::start(&server, Some(Duration::from_secs(1)), "127.0.0.5 api.test\n");
    let (api, other) = (running.watch("API.test"), running.watch("other.test"));
    resolves_to(&api, &["127.0.0.5"]).await;
    resolves_to(&other, &["127.0.0.8"]).await;
    assert_eq!(server.count("api.test"), 0, "a name in the file needs no server");
    fs::write(running.hosts().join("hosts"), "127.0.0.6 api.test other.test\n").unwrap();
    resolves_to(&api, &["127.0.0.6"]).await;
    resolves_to(&other, &["127.0.0.6"]).await;
}

#[tokio::test]
async fn search_domains_apply_to_short_names() {
    let server = DnsServer::start().await;
    server.set("db.example.test", &["127.0.0.4"], 60);
    let running = Running::start(&server, None, "");
    let name = running.watch("db");
    resolves_to(&name, &["127.0.0.4"]).await;
}

/// Many resolvers answer AAAA queries late or not at all.
#[tokio::test]
async fn a_family_that_is_late_delays_nothing() {
    let server = DnsServer::start().await;
    let both = Answer::Addresses(["127.0.0.1", "::1"].iter().map(|text| text.parse().unwrap()).collect(), 60);
    server.answer("api.test", Answer::LateAaaa(Duration::from_millis(900), Box::new(both)));
    let running = Running::start(&server, None, "");
    let name = running.watch("api.test");
    let began = Instant::now();
    resolves_to(&name, &["127.0.0.1"]).await;
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    wait::until(wait::BOUND, "both", || async { (name.current().0.addresses.len() == 2).then_some(()) }).await;
}

#[tokio::test]
async fn without_refresh_a_lookup_needs_a_request() {
    let server = DnsServer::start().await;
    server.set("api.test", &["127.0.0.1"], 1);
    let running = Running::start(&server, None, "");
    let name = running.watch("api.test");
    resolves_to(&name, &["127.0.0.1"]).await;
    server.set("api.test", &["127.0.0.2"], 1);
    server.set("other.test", &["127.0.0.3"], 1);
    // The other name is looked up twice, by requests; its TTL is over meanwhile.
    let other = running.watch("other.test");
    resolves_to(&other, &["127.0.0.3"]).await;
    other.request_lookup();
    server.asked("other.test", 4).await;
    assert_eq!(server.count("api.test"), 2);
    name.request_lookup();
    resolves_to(&name, &["127.0.0.2"]).await;
}

/// Not all addresses of a name fit a datagram (RFC 7766 section 5).
#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let server = DnsServer::start().await;
    let all: Vec<String> = (1..=12).map(|host| format!("127.0.0.{host}")).collect();
    let addresses = all.iter().map(|text| text.parse().unwrap()).collect();
    server.answer("api.test", Answer::Truncated(addresses, 60));
    let running = Running::start(&server, None, "");
    let name = running.watch("api.test");
    resolves_to(&name, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let both = || async { (server.count_tcp("api.test") >= 2).then_some(()) };
    wait::until(wait::BOUND, "queries for both record types over TCP", both).await;
    assert_eq!(name.current().0.error, None);
}
