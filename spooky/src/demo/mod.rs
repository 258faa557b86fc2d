//! `spooky demo`: everything that a request over HTTP/3 needs, in one process and on loopback.
//!
//! Owns the order of the show and its texts: certificate, backend, the product itself by its own configuration, one
//! request, then serving until a signal. What it shows is the product's path and nothing else: no setting that a
//! configuration file could not have. Called by the command line.

mod client;
mod failure;
mod identity;
mod origin;

use crate::{
    cli::console::{complain, say},
    runtime::{self, Running},
    signals::Signals,
};
use client::Reply;
use failure::Failure;
use identity::Identity;
use spooky_config::Config;
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::ExitCode,
};

/// The name that the certificate is for and that requests go to.
const HOST: &str = "localhost";

/// Shows a request over HTTP/3 through this process, then serves on this port until a signal.
pub(crate) fn run(port: u16) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = match runtime {
        Ok(runtime) => {
            let shown = runtime.block_on(show(port));
            runtime.shutdown_background(); // a drain that a second signal cut short is not awaited
            shown
        }
        Err(error) => Err(Failure::setup("start the demo", error)),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn show(port: u16) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::setup("wait for signals", error))?;
    let identity = Identity::new(HOST).map_err(|error| Failure::setup("make a certificate", error))?;
    let backend = origin::start().await.map_err(|error| Failure::setup("start the backend", error))?;
    let running = serve(port, backend, &identity)?;
    say(&introduction(port, &running.addresses(), backend, &identity));
    match ask(port, &identity).await {
        Ok(()) => say(&invitation(port, &identity)),
        Err(failure) => {
            drain(running, &mut signals).await?;
            return Err(failure);
        }
    }
    signals.stop().await;
    say("\nDraining connections ...");
    drain(running, &mut signals).await?;
    say("Stopped.");
    Ok(())
}

/// Starts the product on the demo's configuration.
fn serve(port: u16, backend: SocketAddr, identity: &Identity) -> Result<Running, Failure> {
    // Workers share a port on purpose, and so would two demos without knowing: a plain bind finds whoever has it.
    match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(Failure::PortInUse(port)),
        _ => {} // whatever else is wrong, the product itself explains
    }
    let config = configuration(port, backend, identity)?;
    runtime::start(config, std::path::Path::new("demo.yaml")).map_err(Failure::Start)
}

/// What the demo serves, as an operator would write it.
fn configuration(port: u16, backend: SocketAddr, identity: &Identity) -> Result<Config, Failure> {
    let text = format!(
        "\
version: 1
listen:
  address: {address}
  port: {port}
  tls: {{ cert: {cert}, key: {key} }}
upstream:
  demo:
    route: {{ path_prefix: / }}
    backends: [ {{ id: embedded, address: \"http://{backend}\" }} ]
log: {{ level: error }}
performance: {{ shutdown_drain_timeout_ms: 3s }}
# Nothing but loopback is served, and the files of the demo are removed by the user who made them.
security: {{ privileges: {{ enabled: false, allow_root: true }}, sandbox: off }}
reload: {{ watch_certificates: false }}
",
        address = Ipv4Addr::LOCALHOST,
        cert = scalar(&identity.cert),
        key = scalar(&identity.key),
    );
    let loaded = spooky_config::parse(&text, "demo.yaml", &|_| None).map_err(Failure::Configuration)?;
    Ok(loaded.config)
}

/// A path as a YAML scalar that means exactly this path.
fn scalar(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    format!("'{}'", text.replace('\'', "''").replace('$', "$$"))
}

/// Makes the one request and shows what came back.
async fn ask(port: u16, identity: &Identity) -> Result<(), Failure> {
    say(&format!("A request over HTTP/3: GET https://{HOST}:{port}/\n"));
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let reply = client::get(server, HOST, identity.certificate.clone()).await.map_err(Failure::Request)?;
    say(&answer(&reply));
    if reply.status.is_success() { Ok(()) } else { Err(Failure::Answer(reply.status)) }
}

fn introduction(port: u16, sockets: &[SocketAddr], backend: SocketAddr, identity: &Identity) -> String {
    let sockets: Vec<_> = sockets.iter().map(|address| format!("UDP {address}")).collect();
    format!(
        "\
Spooky {version}: an HTTP/3 listener and a backend in one process, on loopback only.

  listener     https://{HOST}:{port} (HTTP/3 on {sockets})
  backend      http://{backend} (HTTP/2 without TLS)
  certificate  {cert} (self-signed, for this run)
",
        version = env!("CARGO_PKG_VERSION"),
        sockets = sockets.join(", "),
        cert = identity.cert.display(),
    )
}

fn answer(reply: &Reply) -> String {
    let mut text =
        format!("  HTTP/3 {} in {:.1} ms, handshake included\n", reply.status, reply.took.as_secs_f64() * 1e3);
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text.extend(reply.fields.iter().map(|(name, value)| format!("  {name}: {}\n", shown(value.as_bytes()))));
    text.extend(shown(&reply.body).lines().map(|line| format!("\n  | {line}")));
    text + "\n"
}

fn invitation(port: u16, identity: &Identity) -> String {
    let url = format!("--resolve {HOST}:{port}:127.0.0.1 https://{HOST}:{port}");
    let cert = quoted(&identity.cert.display().to_string());
    format!(
        "\
Try it with a curl that lists HTTP3 in `curl --version`:

  curl --http3-only --cacert {cert} {url}/
  curl --http3-only -k {url}/
  curl --http3-only -k --data 'trick or treat' {url}/echo

Serving until Ctrl-C."
    )
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Stops the product, at most for as long as nobody asks a second time.
async fn drain(running: Running, signals: &mut Signals) -> Result<(), Failure> {
    let stopped = tokio::task::spawn_blocking(move || running.stop());
    tokio::select! {
        stopped = stopped => stopped.map_err(|error| Failure::setup("stop", error)),
        () = signals.stop() => Err(Failure::CutShort),
    }
}

#[cfg(test)]
mod tests;
