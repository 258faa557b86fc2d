//! curl as a client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::wait;

/// curl for one server.
#[derive(Debug, Clone)]
pub struct Curl {
    program: PathBuf,
    ca: PathBuf,
    addr: SocketAddr,
}

/// What curl wrote.
#[derive(Debug, Clone)]
pub struct CurlReply {
    /// The exit code.
    pub code: i32,
    /// All response heads in order, interim ones included.
    pub heads: String,
    /// The body.
    pub body: Vec<u8>,
    /// What curl said about the transfer.
    pub log: String,
}

impl CurlReply {
    /// Returns the status line of the final response.
    pub fn status_line(&self) -> &str {
        self.heads.lines().rfind(|line| line.starts_with("HTTP/")).unwrap_or_default().trim()
    }

    /// Returns the value of a field of the final response, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        let lines = self.heads.lines().rev().take_while(|line| !line.starts_with("HTTP/"));
        let fields = lines.filter_map(|line| line.split_once(": "));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).last().map_or("", |(_, value)| value.trim())
    }
}

impl Curl {
    /// Uses this program, trusts `ca`, and connects to `addr` as `localhost`.
    pub fn new(program: PathBuf, ca: &Path, addr: SocketAddr) -> Self {
        Self { program, ca: ca.to_owned(), addr }
    }

    /// Requests `path` with further arguments.
    pub async fn run(&self, arguments: &[&str], path: &str) -> CurlReply {
        let heads = tempfile::NamedTempFile::new().expect("make a temporary file");
        let port = self.addr.port();
        let mut command = Command::new(&self.program);
        command.args(["--silent", "--show-error", "--max-time", "25", "--dump-header"]).arg(heads.path());
        command.arg("--cacert").arg(&self.ca).args(["--resolve", &format!("localhost:{port}:{}", self.addr.ip())]);
        command.args(arguments).arg(format!("https://localhost:{port}{path}"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = wait::within("curl", command.output()).await.expect("start curl");
        CurlReply {
            code: output.status.code().unwrap_or(-1),
            heads: std::fs::read_to_string(heads.path()).expect("read the heads"),
            body: output.stdout,
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
