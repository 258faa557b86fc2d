//! Whether a port of this machine belongs to Spooky. When it does not run, every user may listen on its port, and must not get
//! the token.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// State of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Listening {
    user: u32,
    inode: u64,
}

/// Returns whether all listening sockets of the port are of root or of this user, or of a process that runs this program.
pub(super) fn is_trusted(port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let sockets: Vec<_> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let own = fs::metadata("/proc/self").map_or(0, |found| found.uid());
    let is_known = |socket: &Listening| [0, own].contains(&socket.user) || is_of_this_program(socket.inode);
    !sockets.is_empty() && sockets.iter().all(is_known)
}

/// Returns the listening sockets of a port in a table of `/proc/net`.
fn listening(table: &str, port: u16) -> Vec<Listening> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, found) = words.nth(1)?.rsplit_once(':')?;
        let is_listening = words.nth(1)? == LISTENING && u16::from_str_radix(found, 16).ok()? == port;
        let (user, inode) = (words.nth(3)?.parse().ok()?, words.nth(1)?.parse().ok()?);
        is_listening.then_some(Listening { user, inode })
    };
    table.lines().filter_map(of_line).collect()
}

fn is_of_this_program(inode: u64) -> bool {
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut holders = processes.filter(|process| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == socket)
    });
    let own = program(Path::new("/proc/self"));
    holders
        .next()
        .is_some_and(|first| own.is_some() && program(&first) == own && holders.all(|other| program(&other) == own))
}

/// Returns the path of a process's program, also if the file was replaced since.
fn program(process: &Path) -> Option<PathBuf> {
    let path = fs::read_link(process.join("exe")).ok()?;
    let text = path.as_os_str().to_str().and_then(|text| text.strip_suffix(" (deleted)")).map(OsStr::new);
    Some(text.map_or(path.clone(), PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20 0: 0100007F:26AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0\n\
            \x20 1: 0100007F:26AE 0100007F:9999 01 00000000:00000000 00:00000000 00000000     7        0 4712 1 0 20 4 30 10 -1\n\
            \x20 2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 9902), [Listening { user: 1000, inode: 4711 }]);
        assert_eq!(listening(table, 80), []);
    }

    #[test]
    fn own_sockets_are_trusted_and_free_ports_are_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_trusted(port));
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        assert!(is_of_this_program(listening(&table, port)[0].inode));
        assert!(!is_of_this_program(u64::MAX));
        assert!(!is_trusted(0), "nobody listens there");
    }
}
