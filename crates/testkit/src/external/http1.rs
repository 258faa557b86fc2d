//! Third-party origins that speak HTTP/1.1.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{ExternalOrigin, pages, path, text};
use crate::certs::Files;
use crate::port;
use crate::program;

/// The version of HTTP that Python's server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonProtocol {
    /// Closes the connection after each response.
    Http10,
    /// Keeps connections open.
    Http11,
}

impl ExternalOrigin {
    /// Starts nginx without HTTP/2. Otherwise as [`ExternalOrigin::nginx`]: it closes a connection after
    /// `requests_per_connection` requests. Uses TLS if `tls` is given.
    pub async fn nginx_http1(program: &Path, requests_per_connection: usize, tls: Option<&Files>) -> Self {
        let (folder, addr) = (pages(), port::free());
        let config = folder.path().join("nginx.conf");
        let (listen, certificate) = match tls {
            None => (addr.to_string(), String::new()),
            Some(files) => (
                format!("{addr} ssl"),
                format!("ssl_certificate {}; ssl_certificate_key {};", text(&files.cert), text(&files.key)),
            ),
        };
        let configured = super::nginx_config(folder.path(), &listen, &certificate, requests_per_connection);
        fs::write(&config, configured).expect("write nginx.conf");
        let (prefix, config) = (path(folder.path()), path(&config));
        Self::start(program, &["-p", &prefix, "-c", &config, "-e", "stderr"], addr, folder, tls.is_some()).await
    }

    /// Starts nginx without HTTP/2 in front of `backend`, to which it passes the target as received and adds `x-host`: the
    /// host that it has read from the request. Closes a connection when nothing arrives for a second.
    pub async fn nginx_to(program: &Path, backend: SocketAddr) -> Self {
        let (folder, addr) = (pages(), port::free());
        let config = folder.path().join("nginx.conf");
        let site = format!(
            "client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; lingering_close off;\n\
             location / {{ proxy_pass http://{backend}; proxy_http_version 1.1; proxy_set_header x-host $host; }}"
        );
        fs::write(&config, super::nginx_config(folder.path(), &addr.to_string(), &site, 1000))
            .expect("write nginx.conf");
        let (prefix, config) = (path(folder.path()), path(&config));
        Self::start(program, &["-p", &prefix, "-c", &config, "-e", "stderr"], addr, folder, false).await
    }

    /// Starts Apache httpd. Serves the pages, and stores what is sent with PUT below `/dav`. Closes a connection after 20
    /// requests. Uses TLS if `tls` is given.
    pub async fn apache(program: &Path, tls: Option<&Files>) -> Self {
        let (folder, addr) = (pages(), port::free());
        let uploads = folder.path().join("dav");
        fs::create_dir(&uploads).expect("make a folder for uploads");
        // It may run as another user.
        for writable in [folder.path(), &uploads] {
            fs::set_permissions(writable, fs::Permissions::from_mode(0o777)).expect("open a folder to others");
        }
        let config = folder.path().join("httpd.conf");
        fs::write(&config, apache_config(folder.path(), addr, tls)).expect("write httpd.conf");
        let (root, config) = (path(folder.path()), path(&config));
        // One process: when it is killed, no children are left.
        Self::start(program, &["-X", "-d", &root, "-f", &config], addr, folder, tls.is_some()).await
    }

    /// Starts Python's `http.server`, which serves the pages.
    pub async fn python(program: &Path, protocol: PythonProtocol) -> Self {
        let (folder, addr) = (pages(), port::free());
        let (ip, number, root) = (addr.ip().to_string(), addr.port().to_string(), path(folder.path()));
        let protocol = if protocol == PythonProtocol::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let arguments = ["-m", "http.server", &number, "--bind", &ip, "--directory", &root, "--protocol", protocol];
        Self::start(program, &arguments, addr, folder, false).await
    }

    /// Starts Node's server: pages, `/echo`, `/hints` with an interim response, `/trailers`. Uses TLS if `tls` is given.
    pub async fn node(program: &Path, tls: Option<&Files>) -> Self {
        let (folder, addr) = (pages(), port::free());
        let script = program::workspace().join("crates/testkit/js/origin.js");
        let (ip, number, root) = (addr.ip().to_string(), addr.port().to_string(), path(folder.path()));
        let mut arguments = vec![text(&script), &ip, &number, &root];
        if let Some(files) = tls {
            arguments.extend([text(&files.key), text(&files.cert)]);
        }
        Self::start(program, &arguments, addr, folder, tls.is_some()).await
    }
}

/// Where Debian and Ubuntu keep the modules of Apache httpd.
const APACHE_MODULES: &str = "/usr/lib/apache2/modules";

fn apache_config(folder: &Path, addr: SocketAddr, tls: Option<&Files>) -> String {
    let folder = path(folder);
    let mut modules = vec!["mpm_event", "authz_core", "dav", "dav_fs", "dir"];
    let mut security = String::new();
    if let Some(files) = tls {
        modules.push("ssl");
        security = format!(
            "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}\nSSLSessionCache none\n",
            text(&files.cert),
            text(&files.key)
        );
    }
    let load = modules
        .iter()
        .fold(String::new(), |load, name| load + &format!("LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n"));
    // Without another user it would refuse to run as root.
    let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    format!(
        "{load}{user}Listen {addr}\nServerName localhost\nPidFile {folder}/pid\nErrorLog /dev/stderr\n\
         Mutex file:{folder} default\nStartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\n\
         MaxKeepAliveRequests 20\nDocumentRoot {folder}\nDavLockDB {folder}/locks\n\
         <Directory {folder}>\nRequire all granted\n</Directory>\n<Location /dav>\nDav On\n</Location>\n{security}"
    )
}
