//! Runs the commands of the guides, in their order.

mod backends;
mod logs;
mod operate;
mod streams;
mod tls;

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use spooky_testkit::process::Program;
use spooky_testkit::{program, wait};
use tokio::process::Command;

use crate::proxy::SPOOKY;

/// A page, and a directory that stands for the root of the file system.
struct Page {
    /// The blocks of shell commands that have not run.
    blocks: VecDeque<String>,
    root: tempfile::TempDir,
    /// What is replaced in the commands.
    replaced: Vec<(String, String)>,
}

impl Page {
    fn open(name: &str) -> Self {
        Self::read(&format!("guide/{name}"))
    }

    /// Opens a page by its path below `docs`.
    fn read(path: &str) -> Self {
        let text = program::file(&format!("docs/{path}"));
        let blocks = text.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned());
        Self { blocks: blocks.collect(), root: tempfile::tempdir().unwrap(), replaced: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn replace(&mut self, text: &str, by: &dyn std::fmt::Display) {
        self.replaced.push((text.to_owned(), by.to_string()));
    }

    /// Returns this text with what is replaced.
    fn filled(&self, text: &str) -> String {
        self.replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Runs these commands in the directory.
    async fn execute(&self, block: &str) -> Output {
        let block = self.filled(block);
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths([self.path("bin")].into_iter().chain(std::env::split_paths(&path))).unwrap();
        let mut command = Command::new("sh");
        command.args(["-euc", &block]).current_dir(self.root.path()).env("PATH", path);
        command.env("CURL_CA_BUNDLE", self.path("ca.pem")).stdin(Stdio::null()).kill_on_drop(true);
        wait::within("the commands", command.output()).await.unwrap()
    }

    /// Starts the program of the next block, which begins with this text.
    fn start(&mut self, begins: &str) -> Program {
        let block = self.blocks.pop_front().expect("a further block of commands");
        assert!(block.starts_with(begins), "{block}");
        let block = self.filled(&block);
        let mut words = block.split(' ');
        let name = words.next().unwrap();
        let own = self.path("bin").join(name);
        let mut command = Command::new(if own.exists() { own } else { name.into() });
        command.args(words).current_dir(self.root.path());
        Program::spawn(command)
    }

    /// Makes the binary under test the program `spooky` of the commands.
    fn install(&self) {
        fs::create_dir(self.path("bin")).unwrap();
        std::os::unix::fs::symlink(SPOOKY, self.path("bin/spooky")).unwrap();
    }

    /// Starts the server of the next block, which begins with this text, and waits until it accepts connections.
    async fn serve(&mut self, begins: &str, addr: SocketAddr) -> Program {
        let mut server = self.start(begins);
        server.accepts(addr).await;
        server
    }

    /// Starts Spooky by the next block, and waits until it serves.
    async fn spooky(&mut self) -> Program {
        let mut spooky = self.start("spooky --config");
        spooky.line("Performance profile: ").await;
        spooky
    }

    /// Runs the next block, whose first line contains this text. Returns what it wrote to standard output.
    async fn run(&mut self, begins: &str) -> String {
        let block = self.blocks.pop_front().expect("a further block of commands");
        assert!(block.lines().next().unwrap().contains(begins), "{block}");
        written(&self.execute(&block).await)
    }
}

/// Returns what commands that have succeeded wrote to standard output.
fn written(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
