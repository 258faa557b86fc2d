//! The side of the old process: starts the new one and waits until it is ready.

use super::{
    child::VARIABLE,
    message::{GO, Inheritance, Ready},
};
use spooky_net::inherit::{number, pass_on};
use std::{
    ffi::OsString,
    fmt,
    io::{self, BufReader, Write as _},
    os::{fd::RawFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

/// Variables that are meant for this process only. The new one gets its sockets from this one.
const OWN_VARIABLES: [&str; 5] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "SPOOKY_WATCHDOG_REASON"];

/// Why the new process does not take over.
#[derive(Debug)]
pub(crate) enum UpgradeError {
    Start(OsString, io::Error),
    Channel(io::Error),
    Ended(ExitStatus),
    NotReady(Duration),
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(program, error) => write!(out, "{} cannot be started: {error}", program.display()),
            Self::Channel(error) => write!(out, "the channel to the new process has failed: {error}"),
            Self::Ended(status) => write!(out, "the new process has ended before it was ready ({status})"),
            Self::NotReady(limit) => write!(out, "the new process was not ready after {} s", limit.as_secs()),
        }
    }
}

/// The new process. Killed when it is dropped before [`NewProcess::go`].
#[derive(Debug)]
pub(crate) struct NewProcess {
    child: Option<Child>,
    channel: BufReader<UnixStream>,
}

impl NewProcess {
    /// Starts the program of this process again, with the same arguments, and passes the sockets of `inheritance` on. They
    /// must stay open until this returns.
    pub(crate) fn start(inheritance: &Inheritance) -> Result<Self, UpgradeError> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let (program, arguments) =
            arguments.split_first().map_or((OsString::new(), &[][..]), |(first, rest)| (first.clone(), rest));
        match Self::start_program(program, arguments, inheritance) {
            Err(UpgradeError::Start(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                Self::start_program(own_file().into(), arguments, inheritance)
            }
            started => started,
        }
    }

    fn start_program(
        program: OsString,
        arguments: &[OsString],
        inheritance: &Inheritance,
    ) -> Result<Self, UpgradeError> {
        let (mut own, passed) = UnixStream::pair().map_err(UpgradeError::Channel)?;
        let mut command = Command::new(&program);
        command.args(arguments).env(VARIABLE, format!("{} {}", number(&passed), std::process::id()));
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        pass_on(&mut command, descriptors(inheritance).chain([number(&passed)]).collect());
        let child = command.spawn().map_err(|error| UpgradeError::Start(program, error))?;
        drop(passed); // so that the end of the new process ends the channel
        let sent = own.write_all(inheritance.to_string().as_bytes());
        let mut started = Self { child: Some(child), channel: BufReader::new(own) };
        match sent {
            Ok(()) => Ok(started),
            Err(error) => Err(started.ended().map_or(UpgradeError::Channel(error), UpgradeError::Ended)),
        }
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Waits until it is ready, at most for `limit`.
    pub(crate) fn ready(&mut self, limit: Duration) -> Result<Ready, UpgradeError> {
        self.channel.get_ref().set_read_timeout(Some(limit)).map_err(UpgradeError::Channel)?;
        Ready::read(&mut self.channel).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => UpgradeError::NotReady(limit),
            _ => self.ended().map_or(UpgradeError::Channel(error), UpgradeError::Ended),
        })
    }

    /// Returns its exit status, if its end has closed the channel.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.wait().ok()
    }

    /// Tells it to go on: from here on it serves. It outlives this process.
    pub(crate) fn go(mut self) -> io::Result<()> {
        self.child = None;
        self.channel.get_mut().write_all(GO.as_bytes())
    }
}

impl Drop for NewProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn descriptors(inheritance: &Inheritance) -> impl Iterator<Item = RawFd> {
    let sockets = inheritance.sockets.iter().flat_map(|sockets| &sockets.descriptors);
    sockets.chain(inheritance.previous.iter().flat_map(|(_, sockets)| sockets)).copied()
}

/// Returns the file of the program. The kernel marks a file that was replaced.
fn own_file() -> PathBuf {
    let file = std::env::current_exe().unwrap_or_default();
    let name = file.to_string_lossy();
    name.strip_suffix(" (deleted)").map_or_else(|| file.clone(), PathBuf::from)
}
