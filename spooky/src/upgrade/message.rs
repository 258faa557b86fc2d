//! The messages between the old and the new process: lines of text, so that both may be of different versions. Unknown lines
//! are ignored.

use crate::worker_layout::WorkerLayout;
use spooky_net::steer::ProcessNumber;
use std::{
    fmt::{self, Write as _},
    io::{self, BufRead},
    os::fd::RawFd,
    str::FromStr,
};

/// Ends each message.
const END: &str = "end";
/// Maximum length of a message. It only protects the process from a peer that is no Spooky.
const MAX_BYTES: usize = 1 << 20;

/// What a socket of a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketRole {
    Udp,
    Tcp,
    /// `http_redirect`.
    Redirect,
    /// The control API or the metrics endpoint; one socket for all workers.
    ControlPlane,
}

impl SocketRole {
    const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Redirect, Self::ControlPlane];

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Redirect => "redirect",
            Self::ControlPlane => "control",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// The sockets of a listener for one purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PassedSockets {
    /// The number of the listener, which it keeps in all processes.
    pub(crate) listener: usize,
    pub(crate) role: SocketRole,
    /// Whether the kernel delivers each packet to the socket of its owner.
    pub(crate) is_steered: bool,
    pub(crate) descriptors: Vec<RawFd>,
}

/// What a process has given up, which one that it starts has not either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restrictions {
    /// It was started as root, and has kept at most the capabilities that a reload needs.
    pub(crate) has_dropped_root: bool,
    /// The layers of the sandbox.
    pub(crate) sandbox: Vec<u64>,
}

/// What the old process passes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inheritance {
    pub(crate) layout: WorkerLayout,
    /// The number of the new process.
    pub(crate) process: ProcessNumber,
    /// The number of the next new listener.
    pub(crate) next_listener: usize,
    /// Keys of stateless resets and address tokens.
    pub(crate) quic_keys: Vec<u8>,
    pub(crate) sockets: Vec<PassedSockets>,
    /// The processes that still drain, the old one included: a descriptor for each of their workers.
    pub(crate) previous: Vec<(ProcessNumber, Vec<RawFd>)>,
    pub(crate) restrictions: Restrictions,
}

impl fmt::Display for Inheritance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "workers {}", self.layout.threads)?;
        writeln!(out, "shards {}", self.layout.shards)?;
        writeln!(out, "process {}", self.process.get())?;
        writeln!(out, "next-listener {}", self.next_listener)?;
        writeln!(out, "quic-keys {}", hex(&self.quic_keys))?;
        for PassedSockets { listener, role, is_steered, descriptors } in &self.sockets {
            let (role, steered) = (role.name(), u8::from(*is_steered));
            writeln!(out, "sockets {listener} {role} {steered}{}", List(descriptors))?;
        }
        for (process, descriptors) in &self.previous {
            writeln!(out, "previous {}{}", process.get(), List(descriptors))?;
        }
        if self.restrictions.has_dropped_root {
            writeln!(out, "dropped-root")?;
        }
        writeln!(out, "sandbox{}", List(&self.restrictions.sandbox))?;
        writeln!(out, "{END}")
    }
}

impl Inheritance {
    /// Reads the message. Blocks.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut read = Self::default();
        read_lines(from, |line| read.add(line))?;
        let count = usize::from(read.layout.workers());
        let of_listeners = read.sockets.iter().all(|sockets| (1..=count).contains(&sockets.descriptors.len()));
        let of_processes = read.previous.iter().all(|(_, sockets)| !sockets.is_empty());
        if count > 0 && of_listeners && of_processes { Ok(read) } else { Err(unfit("an incomplete message")) }
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        match words.next()? {
            "workers" => self.layout.threads = words.next()?.parse().ok()?,
            "shards" => self.layout.shards = words.next()?.parse().ok()?,
            "process" => self.process = process(words.next()?)?,
            "next-listener" => self.next_listener = words.next()?.parse().ok()?,
            "quic-keys" => self.quic_keys = bytes(words.next()?)?,
            "sockets" => {
                let listener = words.next()?.parse().ok()?;
                let (role, is_steered) = (SocketRole::from_name(words.next()?)?, words.next()? == "1");
                let descriptors = numbers(words)?;
                self.sockets.push(PassedSockets { listener, role, is_steered, descriptors });
            }
            "previous" => self.previous.push((process(words.next()?)?, numbers(words)?)),
            "dropped-root" => self.restrictions.has_dropped_root = true,
            "sandbox" => self.restrictions.sandbox = numbers(words)?,
            _ => {}
        }
        Some(())
    }
}

/// What the new process answers: it is ready, and serves these sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) taken: Vec<(usize, SocketRole)>,
}

impl fmt::Display for Ready {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (listener, role) in &self.taken {
            writeln!(out, "taken {listener} {}", role.name())?;
        }
        writeln!(out, "{END}")
    }
}

impl Ready {
    /// Reads the message. Blocks.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut ready = Self::default();
        read_lines(from, |line| {
            let mut words = line.split(' ');
            if words.next()? == "taken" {
                let listener = words.next()?.parse().ok()?;
                ready.taken.push((listener, SocketRole::from_name(words.next()?)?));
            }
            Some(())
        })?;
        Ok(ready)
    }
}

/// The order of the old process to begin.
pub(crate) const GO: &str = "go\nend\n";

/// Waits for [`GO`].
pub(crate) fn read_go(from: &mut impl BufRead) -> io::Result<()> {
    read_lines(from, |_| Some(()))
}

/// Calls `add` with each line before the end of the message.
fn read_lines(from: &mut impl BufRead, mut add: impl FnMut(&str) -> Option<()>) -> io::Result<()> {
    let mut left = MAX_BYTES;
    loop {
        let mut line = String::new();
        let length = from.read_line(&mut line)?;
        left = left.checked_sub(length).ok_or_else(|| unfit("a message that is too long"))?;
        match line.strip_suffix('\n') {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(END) => return Ok(()),
            Some(line) => add(line).ok_or_else(|| unfit("a message that cannot be understood"))?,
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|number| write!(out, " {number}"))
    }
}

fn unfit(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn process(word: &str) -> Option<ProcessNumber> {
    let number = word.parse().ok().filter(|number| *number < ProcessNumber::COUNT)?;
    Some(ProcessNumber::new(number))
}

fn numbers<'a, T: FromStr>(words: impl Iterator<Item = &'a str>) -> Option<Vec<T>> {
    words.map(|word| word.parse().ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inheritance() -> Inheritance {
        let sockets = |role, descriptors| PassedSockets { listener: 3, role, is_steered: true, descriptors };
        Inheritance {
            layout: WorkerLayout { threads: 2, shards: 1 },
            process: ProcessNumber::new(7),
            next_listener: 4,
            restrictions: Restrictions { has_dropped_root: true, sandbox: vec![u64::MAX, 0] },
            quic_keys: vec![0, 0xab, 0xff],
            sockets: vec![
                sockets(SocketRole::Udp, vec![5, 6]),
                sockets(SocketRole::Tcp, vec![7, 8]),
                PassedSockets { is_steered: false, ..sockets(SocketRole::Redirect, vec![9, 10]) },
            ],
            previous: vec![(ProcessNumber::new(15), vec![11, 12]), (ProcessNumber::new(0), vec![13, 14])],
        }
    }

    #[test]
    fn messages_are_read_as_they_were_written_and_unknown_lines_are_ignored() {
        let sent = inheritance();
        let text = format!("color blue\n{sent}").replace("workers", "shape round\nworkers");
        let mut rest = text.as_bytes();
        assert_eq!(Inheritance::read(&mut rest).unwrap(), sent);
        assert_eq!(rest, b"");
        let ready = Ready { taken: vec![(0, SocketRole::Udp), (12, SocketRole::Redirect)] };
        assert_eq!(Ready::read(&mut format!("mood fine\n{ready}").as_bytes()).unwrap(), ready);
        read_go(&mut GO.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_cut_off_or_wrong_is_an_error() {
        let text = inheritance().to_string();
        for length in 0..text.len() {
            let error = Inheritance::read(&mut &text.as_bytes()[..length]).unwrap_err();
            assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData), "{length}");
        }
        for (good, bad) in [
            ("workers 2", "workers 1"),
            ("workers 2", "workers 0"),
            ("shards 1", "shards 0"),
            ("process 7", "process 16"),
            ("quic-keys 00", "quic-keys 0g"),
            ("sockets 3 udp", "sockets 3 pigeon"),
            ("5 6", "5 x"),
            (" 5 6", ""),
            ("5 6", "5 6 7"),
            ("previous 15 11 12", "previous 15"),
        ] {
            Inheritance::read(&mut text.replace(good, bad).as_bytes()).unwrap_err();
        }
        read_go(&mut &b"go\n"[..]).unwrap_err();
        let endless = "x\n".repeat(MAX_BYTES);
        read_go(&mut endless.as_bytes()).unwrap_err();
    }
}
