//! Third-party origins: starts their programs on a loopback port.

mod http1;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use self::http1::PythonProtocol;
use crate::certs::Files;
use crate::pattern::Pattern;
use crate::port;
use crate::process::Program;
use crate::program;

/// Lengths of the pages `/page-<length>`, which contain pattern bytes (seed = length).
pub const PAGES: [u64; 3] = [10, 100_000, 3_000_000];

/// A running third-party origin. Dropping it stops the process.
#[derive(Debug)]
pub struct ExternalOrigin {
    addr: SocketAddr,
    tls: bool,
    /// The process.
    pub program: Program,
    folder: TempDir,
}

impl ExternalOrigin {
    /// Starts nghttpd. Serves the pages, echoes uploads, and adds the trailer `x-checked: yes` to each response with a body.
    /// Uses TLS if `tls` is given.
    pub async fn nghttpd(program: &Path, tls: Option<&Files>) -> Self {
        let (folder, addr) = (pages(), port::free());
        let (ip, number, htdocs) = (addr.ip().to_string(), addr.port().to_string(), path(folder.path()));
        let mut arguments = vec!["--echo-upload", "--trailer", "x-checked: yes", "-a", &ip, "-d", &htdocs, &number];
        match tls {
            None => arguments.insert(0, "--no-tls"),
            Some(files) => arguments.extend([text(&files.key), text(&files.cert)]),
        }
        Self::start(program, &arguments, addr, folder, tls.is_some()).await
    }

    /// Starts nginx. Serves the pages, and `/upload`, which answers with the length of the request body. Sends GOAWAY after
    /// `requests_per_connection` requests on a connection.
    pub async fn nginx(program: &Path, requests_per_connection: usize) -> Self {
        let (folder, addr) = (pages(), port::free());
        let config = folder.path().join("nginx.conf");
        let configured = nginx_config(folder.path(), &format!("{addr} http2"), "", requests_per_connection);
        fs::write(&config, configured).expect("write nginx.conf");
        let (prefix, config) = (path(folder.path()), path(&config));
        Self::start(program, &["-p", &prefix, "-c", &config, "-e", "stderr"], addr, folder, false).await
    }

    /// Starts a Python program of this crate that takes an address and a port.
    pub async fn script(python: &Path, name: &str) -> Self {
        let (folder, addr, script) = (pages(), port::free(), program::script(name));
        let (ip, number) = (addr.ip().to_string(), addr.port().to_string());
        Self::start(python, &[text(&script), &ip, &number], addr, folder, false).await
    }

    /// Starts nginx with TLS, HTTP/2 and HTTP/1.1 in front of a WebSocket server. Its HTTP/2 has no extended CONNECT.
    pub async fn nginx_before(program: &Path, server: SocketAddr, tls: &Files) -> Self {
        let (folder, addr) = (pages(), port::free());
        let config = folder.path().join("nginx.conf");
        let site = format!(
            "ssl_certificate {}; ssl_certificate_key {};\n\
             location /ws {{ proxy_pass http://{server}; proxy_http_version 1.1;\n\
               proxy_set_header upgrade $http_upgrade; proxy_set_header connection upgrade; }}",
            text(&tls.cert),
            text(&tls.key)
        );
        fs::write(&config, nginx_config(folder.path(), &format!("{addr} ssl http2"), &site, 1000))
            .expect("write nginx.conf");
        let (prefix, config) = (path(folder.path()), path(&config));
        Self::start(program, &["-p", &prefix, "-c", &config, "-e", "stderr"], addr, folder, true).await
    }

    async fn start(program: &Path, arguments: &[&str], addr: SocketAddr, folder: TempDir, tls: bool) -> Self {
        let mut program = Program::start(program, arguments);
        program.accepts(addr).await;
        Self { addr, tls, program, folder }
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its URL for the configuration of a backend.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// Returns the folder of its pages.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn pages() -> TempDir {
    let folder = tempfile::tempdir().expect("make a temporary directory");
    for len in PAGES {
        let page: PathBuf = folder.path().join(format!("page-{len}"));
        fs::write(page, Pattern::bytes(len, len)).expect("write a page");
    }
    folder
}

/// Configures one process in the foreground that writes only to `folder`. All versions support `listen ... http2`, but not
/// the newer directive.
fn nginx_config(folder: &Path, listen: &str, certificate: &str, requests: usize) -> String {
    let folder = path(folder);
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           access_log off; default_type application/octet-stream; keepalive_requests {requests};\n\
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n\
           uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; client_max_body_size 0;\n\
           server {{\n\
             listen {listen}; {certificate} root {folder};\n\
             location = /upload {{ proxy_pass http://unix:{folder}/inner; }}\n\
           }}\n\
           server {{ listen unix:{folder}/inner; location / {{ return 200 $content_length; }} }}\n\
         }}\n"
    )
}

fn path(path: &Path) -> String {
    text(path).to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Authority;
    use crate::dialer::{dial, dial_tls, fetch, get};
    use crate::pattern::sha256;

    #[tokio::test]
    async fn nghttpd_serves_echoes_and_trails() {
        let Some(program) = program::require("nghttpd") else { return };
        let origin = ExternalOrigin::nghttpd(&program, None).await;
        let mut client = dial(origin.addr()).await;
        let got = fetch(&mut client, "/echo", "some bytes").await.unwrap();
        assert_eq!(got.body, "some bytes");
        assert_eq!(got.trailers.unwrap()["x-checked"], "yes");
        let page = get(&mut client, "/page-100000").await.unwrap();
        assert_eq!(sha256(&page.body), Pattern::sha256(100_000, 100_000));
    }

    #[tokio::test]
    async fn nghttpd_speaks_tls() {
        let Some(program) = program::require("nghttpd") else { return };
        let authority = Authority::new();
        let files = Files::write(&authority, &authority.issue(&["localhost", "127.0.0.1"]));
        let origin = ExternalOrigin::nghttpd(&program, Some(&files)).await;
        let mut client = dial_tls(origin.addr(), &authority).await;
        assert_eq!(fetch(&mut client, "/", "echo").await.unwrap().body, "echo");
    }

    #[tokio::test]
    async fn nginx_serves_counts_and_retires() {
        let Some(program) = program::require("nginx") else { return };
        let origin = ExternalOrigin::nginx(&program, 3).await;
        let mut client = dial(origin.addr()).await;
        assert_eq!(fetch(&mut client, "/upload", vec![7; 200_000]).await.unwrap().body, "200000");
        assert_eq!(fetch(&mut client, "/upload", "").await.unwrap().body, "0");
        let page = get(&mut client, "/page-100000").await.unwrap();
        assert_eq!(sha256(&page.body), Pattern::sha256(100_000, 100_000));
        assert!(fetch(&mut client, "/upload", "").await.is_err(), "the connection was to be retired");
    }
}
