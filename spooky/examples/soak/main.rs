//! A long run under faults: `cargo xtask soak [--minutes N] [--without-upgrades]`.
//!
//! HTTP/3, HTTP/2 and HTTP/1.1 clients check every byte of every response, while the configuration is reloaded every second, a
//! backend is killed every ten seconds, the certificate is replaced every minute and the program every five minutes. Fails if a
//! request is lost or answered wrongly that had to succeed, or if memory grows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement: a broken assumption ends it")]

mod ask;
mod backends;
mod clients;
mod faults;
mod ledger;

use backends::Backends;
use faults::Faults;
use ledger::Ledger;
use spooky_testkit::{
    certs::{Authority, Files},
    process::Program,
    settings::Settings,
};
use std::{path::Path, sync::Arc, time::Duration};

/// The name in the certificate.
const NAME: &str = "localhost";
/// The argument with which this program starts itself as a backend.
const BACKEND: &str = "--backend";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [BACKEND, addr, protocol] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return backends::serve(addr.parse().expect("an address"), protocol).await;
    }
    let option = |name: &str| arguments.iter().position(|argument| argument == name);
    let minutes = option("--minutes").and_then(|at| arguments.get(at + 1));
    let minutes = minutes.map_or(60, |minutes| minutes.parse::<u64>().expect("a number of minutes"));
    let binary = arguments.first().expect("the path of the spooky binary");

    let backends = Backends::start().await;
    let authority = Arc::new(Authority::new());
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let log = files.dir().join("access.log");
    let settings = Settings::new(&files)
        .workers(2)
        .protocol("h2")
        .upstream("h2", "/h2", &backends.urls("h2"))
        .protocol("http1")
        .upstream("h1", "/h1", &backends.urls("http1"))
        .block(&format!(
            "observability: {{ metrics: {{ enabled: true, port: {} }} }}",
            spooky_testkit::port::free().port()
        ));
    let text = settings.text().replace(
        "log: { level: info }",
        &format!("log: {{ level: info, access: {{ file: \"{}\", sample_ratio: 0.01 }} }}", log.display()),
    );
    let file = files.dir().join("spooky.yaml");
    std::fs::write(&file, &text).expect("write the configuration");
    let mut program = Program::start(Path::new(binary), &["--config", file.to_str().expect("a path of text")]);
    program.line("Performance profile: ").await;

    let ledger = Arc::new(Ledger::default());
    let mut running = clients::start(&authority, settings.addr(), &ledger);
    let (addr, own) = (settings.addr(), ledger.clone());
    let mut faults =
        Faults { program, backends, files, authority, text, file, ledger: own, addr, reloads: 0, pid: None };
    let is_upgraded = option("--without-upgrades").is_none();
    let memory = tokio::select! {
        memory = faults.run(Duration::from_secs(minutes * 60), is_upgraded) => memory,
        Some(ended) = running.join_next() => panic!("a client has ended: {ended:?}"),
    };
    running.shutdown().await;
    faults.stop().await;
    drop(faults); // ends the backends, which an exit would leave running
    let violations = ledger.report(minutes, &memory);
    std::process::exit(i32::from(violations > 0));
}
