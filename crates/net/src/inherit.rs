//! Descriptors that pass from one process to another by `execve`: sockets from the service manager or from the process that
//! this one replaces, and those that this process passes on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libc::c_int;
use socket2::{SockRef, Type};

use crate::sockopt;

/// The protocol of an inherited socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// UDP.
    Udp,
    /// A listening TCP socket.
    Tcp,
}

/// Takes ownership of a descriptor that was open when this program was started.
///
/// Errors: when it is a standard stream, is not open, was opened by this process or was adopted before.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    let unfit = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if fd <= libc::STDERR_FILENO {
        return unfit("a standard stream");
    }
    if flags(fd)? & libc::FD_CLOEXEC != 0 {
        return unfit("not inherited");
    }
    set_flags(fd, libc::FD_CLOEXEC)?;
    // SAFETY: the descriptor is open. It had no `FD_CLOEXEC`, so it has come through `execve`: all that this program opens
    // has the flag. Nothing else in the program owns it, because only this function adopts, and it never does so twice: the
    // flag is set now. (Two threads that adopt the same number at once are excluded by the callers, which run before the
    // first thread is started.)
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns protocol and address of an inherited socket.
///
/// Errors: when it is neither a bound UDP socket nor a listening TCP socket.
pub fn identify(fd: BorrowedFd<'_>) -> io::Result<(SocketKind, SocketAddr)> {
    let unfit = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
    let socket = SockRef::from(&fd);
    let address = socket.local_addr()?.as_socket().ok_or_else(|| unfit("not an internet socket"))?;
    let kind = socket.r#type()?;
    if kind == Type::DGRAM {
        return Ok((SocketKind::Udp, address));
    }
    let is_listening = sockopt::get_int(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0;
    if kind == Type::STREAM && is_listening {
        return Ok((SocketKind::Tcp, address));
    }
    Err(unfit("neither a UDP socket nor a listening TCP socket"))
}

/// Makes a command pass these descriptors on under their numbers. They must stay open until it is spawned.
pub fn pass_on(command: &mut Command, descriptors: Vec<RawFd>) {
    // SAFETY: the closure runs in the child between `fork` and `execve`. It only calls `fcntl`, which is async-signal-safe,
    // and allocates nothing: the list was allocated before. A number that is not open is an error of `spawn`.
    unsafe {
        command.pre_exec(move || descriptors.iter().try_for_each(|fd| set_flags(*fd, 0)));
    }
}

/// Makes a command start a process that is not a child of this one: it becomes a child of the system's first process or of a
/// service manager (`PR_SET_CHILD_SUBREAPER`), which is thereby told of its end. `spawn` returns a process that has ended;
/// the id of the new one arrives at the descriptor `report`, four bytes in native order. `report` must stay open until then.
pub fn detach(command: &mut Command, report: RawFd) {
    // SAFETY: the closure runs in the child between `fork` and `execve`, where there is one thread. It only makes system
    // calls and allocates nothing.
    unsafe {
        command.pre_exec(move || fork_again(report));
    }
}

/// Continues in a child of this process and ends this process.
fn fork_again(report: RawFd) -> io::Result<()> {
    // SAFETY: as `fork`, but without handlers of libraries, which may wait for threads that do not exist here. No argument is
    // a pointer that is not null; the child uses the copied stack.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => {
            let id = std::process::id().to_ne_bytes();
            // SAFETY: the pointer is valid for the length of the array.
            let written = unsafe { libc::write(report, id.as_ptr().cast(), id.len()) };
            if usize::try_from(written) == Ok(id.len()) { Ok(()) } else { Err(io::Error::last_os_error()) }
        }
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: ends the process without running anything else.
        _ => unsafe { libc::_exit(0) },
    }
}

fn flags(fd: RawFd) -> io::Result<c_int> {
    // SAFETY: `F_GETFD` takes no pointer; a number that is not open is an errno.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 { Err(io::Error::last_os_error()) } else { Ok(flags) }
}

fn set_flags(fd: RawFd, flags: c_int) -> io::Result<()> {
    // SAFETY: `F_SETFD` takes no pointer and changes only whether `execve` closes the descriptor.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns the number of a descriptor, for [`pass_on`] and the message that names it.
pub fn number(fd: &impl AsRawFd) -> RawFd {
    fd.as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, Read as _, Write as _};
    use std::os::fd::AsFd as _;

    #[test]
    fn only_what_came_through_execve_is_adopted_and_only_once() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = socket.as_raw_fd();
        assert_eq!(adopt(own).unwrap_err().kind(), io::ErrorKind::InvalidInput, "opened by this process");
        for fd in 0..3 {
            assert_eq!(adopt(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput, "a standard stream");
        }
        adopt(60_000).unwrap_err();
        // As after `execve`.
        let passed = std::mem::ManuallyDrop::new(socket.try_clone().unwrap());
        set_flags(passed.as_raw_fd(), 0).unwrap();
        let adopted = adopt(passed.as_raw_fd()).unwrap();
        adopt(passed.as_raw_fd()).unwrap_err();
        assert_eq!(identify(adopted.as_fd()).unwrap(), (SocketKind::Udp, socket.local_addr().unwrap()));
    }

    #[test]
    fn sockets_are_identified() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(identify(listener.as_fd()).unwrap(), (SocketKind::Tcp, address));
        let client = std::net::TcpStream::connect(address).unwrap();
        identify(client.as_fd()).unwrap_err();
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        identify(unix.as_fd()).unwrap_err();
    }

    #[test]
    fn a_detached_process_is_no_child_and_says_its_id() {
        let (mut own, passed) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        let number = number(&passed);
        command.args(["-c", &format!("echo $$ $PPID >&{number}; read line <&{number}")]);
        pass_on(&mut command, vec![number]);
        detach(&mut command, number);
        let mut child = command.spawn().unwrap();
        drop(passed);
        assert!(child.wait().unwrap().success(), "it has ended");
        let mut id = [0; 4];
        own.read_exact(&mut id).unwrap();
        let id = u32::from_ne_bytes(id);
        let mut line = String::new();
        let mut reader = io::BufReader::new(&own);
        reader.read_line(&mut line).unwrap();
        let numbers: Vec<u32> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert_eq!(numbers[0], id);
        let parents = [std::process::id(), child.id()];
        let parent = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let parent = parent.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        assert!(!parents.contains(&parent), "{parents:?} {line}");
        own.write_all(b"\n").unwrap();
    }

    #[test]
    fn a_detached_program_that_does_not_exist_is_an_error_of_spawn() {
        let (_own, passed) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut command = Command::new("/no/such/program");
        detach(&mut command, number(&passed));
        assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_gets_what_is_passed_on_and_nothing_else() {
        let passed = std::fs::File::open("/dev/null").unwrap();
        let kept = std::fs::File::open("/dev/null").unwrap();
        let script = format!("test -e /proc/self/fd/{} && test ! -e /proc/self/fd/{}", number(&passed), number(&kept));
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        pass_on(&mut command, vec![number(&passed)]);
        assert!(command.status().unwrap().success());
        assert_ne!(flags(number(&passed)).unwrap() & libc::FD_CLOEXEC, 0, "this process has not changed");
    }
}
