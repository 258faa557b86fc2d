//! Runs a program as a child process and captures its output.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait;

/// Maximum number of lines of output. More fail the test.
const MAX_LINES: usize = 100_000;

/// What lines of the access log contain. They are kept apart: tests with many requests would otherwise search all of them, and
/// reach [`MAX_LINES`].
const ACCESS_LINE: &str = "Z  INFO access: request_id=";

/// A running program. Dropping it kills the process.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
    access: watch::Receiver<Vec<String>>,
    readers: JoinSet<()>,
}

impl Program {
    /// Starts `path` with `arguments` and the environment of the test.
    pub fn start(path: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(path);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command with closed standard input and captured output.
    pub fn spawn(mut command: Command) -> Self {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        let sender = watch::Sender::new(Vec::new());
        let lines = sender.subscribe();
        let access_sender = watch::Sender::new(Vec::new());
        let access = access_sender.subscribe();
        let mut readers = JoinSet::new();
        let stdout = child.stdout.take().expect("captured output");
        readers.spawn(collect(stdout, sender.clone(), access_sender.clone()));
        readers.spawn(collect(child.stderr.take().expect("captured output"), sender, access_sender));
        Self { name, child, lines, access, readers }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the program is still running")
    }

    /// Returns the lines of the access log so far, at most `MAX_LINES` of them.
    pub fn access_lines(&self) -> Vec<String> {
        self.access.borrow().clone()
    }

    /// Waits until the access log has this many lines, and returns them.
    pub async fn access_log(&mut self, lines: usize) -> Vec<String> {
        let what = format!("{lines} access lines from {}", self.name);
        let seen = wait::within(&what, self.access.wait_for(|all| all.len() >= lines)).await;
        seen.map_or_else(|_| panic!("{} ended without {what}", self.name), |all| all.clone())
    }

    /// Returns everything else that was written to stdout and stderr so far.
    pub fn output(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Waits for a line that contains `text` and returns it. Fails the test with all output if the program ends first.
    pub async fn line(&mut self, text: &str) -> String {
        let found = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let mut reader = self.lines.clone();
        let what = format!("{text:?} from {}", self.name);
        let seen = wait::within(&what, reader.wait_for(|lines| found(lines).is_some())).await;
        let line = seen.ok().and_then(|lines| found(&lines));
        line.unwrap_or_else(|| panic!("{} ended without writing {text:?}:\n{}", self.name, self.output()))
    }

    /// Waits for a condition that the program does not print, such as an open port. Fails the test with all output if the
    /// program ends first.
    pub async fn ready<F>(&mut self, what: &str, mut holds: impl FnMut() -> F)
    where
        F: Future<Output = bool>,
    {
        let polling = wait::until(wait::BOUND, what, || {
            let holds = holds();
            async move { holds.await.then_some(()) }
        });
        tokio::select! {
            () = polling => {}
            status = self.child.wait() => panic!("{} ended ({status:?}) before {what}:\n{}", self.name, self.output()),
        }
    }

    /// Waits until the program accepts TCP connections.
    pub async fn accepts(&mut self, addr: std::net::SocketAddr) {
        self.ready("a TCP port that accepts", || async move { tokio::net::TcpStream::connect(addr).await.is_ok() })
            .await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signal a child");
    }

    /// Waits for the end of the program, at most `limit`.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait::within_time(limit, &what, self.child.wait()).await.expect("the status of a child")
    }

    /// Waits for the end of both outputs, which processes that inherited them may keep open. Returns all lines.
    pub async fn rest(&mut self) -> Vec<String> {
        let what = format!("the end of the output of {}", self.name);
        wait::within(&what, async { while self.readers.join_next().await.is_some() {} }).await;
        self.lines.borrow().clone()
    }

    /// Sends SIGTERM and waits for the end of the program.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit(wait::BOUND).await
    }
}

async fn collect(
    output: impl AsyncRead + Unpin,
    sender: watch::Sender<Vec<String>>,
    access: watch::Sender<Vec<String>>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains(ACCESS_LINE) && !line.contains(" route_upstream=") {
            access.send_if_modified(|all| {
                let has_room = all.len() < MAX_LINES;
                if has_room {
                    all.push(line);
                }
                has_room
            });
            continue;
        }
        sender.send_modify(|all| {
            assert!(all.len() < MAX_LINES, "more than {MAX_LINES} lines of output");
            all.push(line);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_signals_and_status() {
        let mut program = Program::start(Path::new("sh"), &["-c", "echo up >&2; exec tail -f /dev/null"]);
        assert_eq!(program.line("up").await, "up");
        program.signal(Signal::TERM);
        assert!(!program.exit(wait::BOUND).await.success());
    }

    #[tokio::test]
    #[should_panic(expected = "ended without writing \"ready\":\nnot yet")]
    async fn a_program_that_ends_shows_its_output() {
        Program::start(Path::new("sh"), &["-c", "echo not yet"]).line("ready").await;
    }
}
