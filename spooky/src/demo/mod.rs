//! `spooky demo`: a backend, the proxy and an HTTP/3 client in one process on loopback.
//!
//! Creates a certificate, starts the backend and the proxy, sends one request, then serves until a signal. The proxy is
//! configured as by a configuration file.

mod client;
mod failure;
mod identity;
mod origin;

use crate::{
    cli::console::{print_error, print_line},
    inherited::Inherited,
    runtime::{self, Server},
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

/// The host name of the certificate and of requests.
const HOST: &str = "localhost";

/// Sends one request over HTTP/3 through the proxy, then serves on this port until a signal.
pub(crate) fn run(port: u16) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = match runtime {
        Ok(runtime) => {
            let shown = runtime.block_on(run_demo(port));
            runtime.shutdown_background(); // does not wait for a drain that a second signal has ended
            shown
        }
        Err(error) => Err(Failure::setup("start the demo", error)),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_error(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run_demo(port: u16) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::setup("wait for signals", error))?;
    let identity = Identity::new(HOST).map_err(|error| Failure::setup("make a certificate", error))?;
    let backend = origin::start().await.map_err(|error| Failure::setup("start the backend", error))?;
    let server = serve(port, backend, &identity)?;
    print_line(&introduction(port, &server.addresses(), backend, &identity));
    match send_request(port, &identity).await {
        Ok(()) => print_line(&curl_commands(port, &identity)),
        Err(failure) => {
            drain(server, &mut signals).await?;
            return Err(failure);
        }
    }
    signals.stop().await;
    print_line("\nDraining connections ...");
    drain(server, &mut signals).await?;
    print_line("Stopped.");
    Ok(())
}

/// Starts the proxy with the demo's configuration.
fn serve(port: u16, backend: SocketAddr, identity: &Identity) -> Result<Server, Failure> {
    // A bind without SO_REUSEPORT detects another demo; two demos would otherwise share the port, as workers do.
    match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(Failure::PortInUse(port)),
        _ => {} // the proxy reports any other error
    }
    let config = configuration(port, backend, identity)?;
    runtime::start(config, std::path::Path::new("demo.yaml"), Inherited::default()).map_err(Failure::Start)
}

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

/// Quotes a path for YAML, without interpolation.
fn scalar(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    format!("'{}'", text.replace('\'', "''").replace('$', "$$"))
}

/// Sends the request and prints the response.
async fn send_request(port: u16, identity: &Identity) -> Result<(), Failure> {
    print_line(&format!("A request over HTTP/3: GET https://{HOST}:{port}/\n"));
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let reply = client::get(server, HOST, identity.certificate.clone()).await.map_err(Failure::Request)?;
    print_line(&answer(&reply));
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

fn curl_commands(port: u16, identity: &Identity) -> String {
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

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Drains the proxy. Returns early on a second signal.
async fn drain(server: Server, signals: &mut Signals) -> Result<(), Failure> {
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    tokio::select! {
        stopped = stopped => stopped.map_err(|error| Failure::setup("stop", error)),
        () = signals.stop() => Err(Failure::CutShort),
    }
}

#[cfg(test)]
mod tests;
