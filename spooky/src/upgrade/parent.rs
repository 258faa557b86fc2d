//! The side of the old process: starts the new one and waits until it is ready.

use super::{
    child::VARIABLE,
    message::{GO, Inheritance, Ready},
};
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use spooky_net::inherit::{detach, number, pass_on};
use std::{
    ffi::OsString,
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::RawFd, unix::net::UnixStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Variables that are meant for this process only. The new one gets its sockets from this one.
const OWN_VARIABLES: [&str; 5] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "SPOOKY_WATCHDOG_REASON"];

/// Maximum time until a stop of this process is noticed while the new one starts.
const CANCELLATION_CHECK: Duration = Duration::from_millis(100);

/// Why the new process does not take over.
#[derive(Debug)]
pub(crate) enum UpgradeError {
    Start(OsString, io::Error),
    Channel(io::Error),
    Ended,
    NotReady(Duration),
    /// This process was told to stop.
    Cancelled,
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(program, error) => write!(out, "{} cannot be started: {error}", program.display()),
            Self::Channel(error) => write!(out, "the channel to the new process has failed: {error}"),
            Self::Ended => out.write_str("the new process has ended before it was ready"),
            Self::NotReady(limit) => write!(out, "the new process was not ready after {} s", limit.as_secs()),
            Self::Cancelled => out.write_str("this process was told to stop"),
        }
    }
}

/// The new process. Killed when it is dropped before [`NewProcess::go`]. It is no child of this process: a service manager must
/// be its parent to wait for it when it stops the service, and to start it again when it crashes while this process drains.
#[derive(Debug)]
pub(crate) struct NewProcess {
    id: u32,
    /// `None` once it goes on.
    handle: Option<OwnedFd>,
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
        detach(&mut command, number(&passed));
        let spawned = command.spawn().and_then(|mut first| first.wait());
        spawned.map_err(|error| UpgradeError::Start(program, error))?;
        drop(passed); // so that the end of the new process ends the channel
        let mut id = [0; 4];
        own.read_exact(&mut id).map_err(UpgradeError::Channel)?;
        let id = u32::from_ne_bytes(id);
        let handle = open(id).map_err(UpgradeError::Channel)?;
        own.write_all(inheritance.to_string().as_bytes()).map_err(channel_error)?;
        Ok(Self { id, handle: Some(handle), channel: BufReader::new(own) })
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Waits until it is ready, at most for `limit`, and not longer than until `is_cancelled`.
    pub(crate) fn ready(&mut self, limit: Duration, is_cancelled: &AtomicBool) -> Result<Ready, UpgradeError> {
        let until = Instant::now() + limit;
        // As long as nothing is there to be read, a time that is over loses no part of the message.
        while self.channel.buffer().is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if is_cancelled.load(Relaxed) {
                return Err(UpgradeError::Cancelled);
            }
            if left.is_zero() {
                return Err(UpgradeError::NotReady(limit));
            }
            self.set_read_timeout(left.min(CANCELLATION_CHECK))?;
            match self.channel.fill_buf() {
                Err(error) if is_timeout(&error) => {}
                Ok([]) | Err(_) => break, // reading the message gets the same result
                Ok(_) => {}
            }
        }
        self.set_read_timeout(limit)?;
        Ready::read(&mut self.channel)
            .map_err(|error| if is_timeout(&error) { UpgradeError::NotReady(limit) } else { channel_error(error) })
    }

    fn set_read_timeout(&self, limit: Duration) -> Result<(), UpgradeError> {
        self.channel.get_ref().set_read_timeout(Some(limit)).map_err(UpgradeError::Channel)
    }

    /// Tells it to go on: from here on it serves. It outlives this process.
    pub(crate) fn go(mut self) -> io::Result<()> {
        self.handle = None;
        self.channel.get_mut().write_all(GO.as_bytes())
    }
}

impl Drop for NewProcess {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            let _has_ended = pidfd_send_signal(handle, Signal::KILL);
        }
    }
}

/// Opens a handle, which is never that of another process that gets the same id later.
fn open(id: u32) -> io::Result<OwnedFd> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    pidfd_open(id, PidfdFlags::empty()).map_err(io::Error::from)
}

/// Only the end of the new process closes its side of the channel.
fn channel_error(error: io::Error) -> UpgradeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            UpgradeError::Ended
        }
        _ => UpgradeError::Channel(error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a shell script as the new process. (`sh` may not know descriptors above 9.)
    fn start(script: &str) -> NewProcess {
        NewProcess::start_program("bash".into(), &["-c".into(), script.into()], &Inheritance::default()).unwrap()
    }

    /// Returns whether it runs: what has ended may remain until its parent has taken note.
    fn is_alive(process: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    /// Neither while it says nothing, nor in the middle of its message.
    #[test]
    fn a_process_that_does_not_get_ready_in_time_is_killed() {
        for script in ["exec sleep 600", "fd=${SPOOKY_UPGRADE%% *}; echo taken 0 udp >&$fd; exec sleep 600"] {
            let mut process = start(script);
            let id = process.id();
            let error = process.ready(Duration::from_millis(300), &AtomicBool::new(false)).unwrap_err();
            assert!(matches!(error, UpgradeError::NotReady(_)), "{script}: {error}");
            assert!(is_alive(id), "{script}");
            drop(process);
            let until = Instant::now() + Duration::from_secs(20);
            while is_alive(id) {
                assert!(Instant::now() < until, "{script}");
                std::thread::yield_now();
            }
        }
        let text = UpgradeError::NotReady(Duration::from_secs(60)).to_string();
        assert_eq!(text, "the new process was not ready after 60 s");
    }

    #[test]
    fn a_stop_of_this_process_ends_the_wait() {
        let mut process = start("exec sleep 600");
        let error = process.ready(Duration::from_secs(600), &AtomicBool::new(true)).unwrap_err();
        assert!(matches!(error, UpgradeError::Cancelled), "{error}");
    }

    #[test]
    fn a_process_that_ends_is_not_ready() {
        for script in ["exit 3", "kill -9 $$"] {
            // It may have ended before it was sent anything.
            let started =
                NewProcess::start_program("bash".into(), &["-c".into(), script.into()], &Inheritance::default());
            let ready =
                started.and_then(|mut process| process.ready(Duration::from_secs(600), &AtomicBool::new(false)));
            assert_eq!(ready.unwrap_err().to_string(), "the new process has ended before it was ready");
        }
    }

    #[test]
    fn a_process_that_is_ready_says_what_it_serves_and_outlives_its_handle() {
        // It waits for the last word, because the first lines that it could read are those of the inheritance.
        let wait = "while read -u $fd line; do if [ \"$line\" = go ]; then exit 0; fi; done";
        let mut process = start(&format!("fd=${{SPOOKY_UPGRADE%% *}}; printf 'taken 0 udp\\nend\\n' >&$fd; {wait}"));
        let ready = process.ready(Duration::from_secs(600), &AtomicBool::new(false)).unwrap();
        assert_eq!(ready.taken.len(), 1);
        process.go().unwrap();
    }
}
