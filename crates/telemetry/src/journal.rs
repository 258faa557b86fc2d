//! Entries of systemd's journal in its native protocol: a datagram with one `NAME=value` for each line
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! An entry that is longer than the socket takes would need a file in memory. There is none: all values are bounded.

use std::{
    fmt, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The socket of the journal.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest message of the general log in characters; the rest is cut off.
const MAX_MESSAGE: usize = 32 * 1024;

/// Appends the fields that every entry begins with.
pub(crate) fn begin_entry(out: &mut Vec<u8>, target: &str, level: Level) {
    out.extend_from_slice(b"PRIORITY=");
    out.push(priority(level));
    out.extend_from_slice(b"\nSYSLOG_IDENTIFIER=spooky\nTARGET=");
    out.extend_from_slice(target.as_bytes());
    out.push(b'\n');
}

/// The severity of syslog (RFC 5424 section 6.2.1) as a digit.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => b'3',
        Level::WARN => b'4',
        Level::INFO => b'6',
        Level::DEBUG | Level::TRACE => b'7',
    }
}

/// Formats one event as an entry: priority, target, message, then the fields of the event by their names in upper case.
pub(crate) struct JournalEntries;

impl<S, N> FormatEvent<S, N> for JournalEntries
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut begin = Vec::new();
        begin_entry(&mut begin, event.metadata().target(), *event.metadata().level());
        writer.write_str(&String::from_utf8_lossy(&begin))?;
        let mut entry = Entry { writer: &mut writer, result: Ok(()) };
        event.record(&mut entry);
        entry.result?;
        writer.write_char('\n')
    }
}

struct Entry<'a, 'w> {
    writer: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl Entry<'_, '_> {
    fn put(&mut self, name: &str, value: &str) -> fmt::Result {
        for character in name.chars() {
            let character = character.to_ascii_uppercase();
            self.writer.write_char(if character.is_ascii_alphanumeric() { character } else { '_' })?;
        }
        self.writer.write_char('=')?;
        for character in value.chars().take(MAX_MESSAGE) {
            match character {
                '\n' => self.writer.write_str("\\x0a")?,
                _ => self.writer.write_char(character)?,
            }
        }
        self.writer.write_char('\n')
    }
}

impl Visit for Entry<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.put(field.name(), value);
        }
    }
}

/// A connection to the journal. The log's thread owns it.
pub(crate) struct JournalSocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl JournalSocket {
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Sends entries, each ended by an empty line.
    pub(crate) fn send(&mut self, entries: &[u8]) -> io::Result<()> {
        let mut rest = entries;
        let mut result = Ok(());
        while !rest.is_empty() {
            let end = rest.windows(2).position(|pair| pair == b"\n\n").map_or(rest.len(), |at| at + 1);
            let (entry, after) = rest.split_at(end);
            result = self.send_one(entry).and(result);
            rest = after.strip_prefix(b"\n").unwrap_or(after);
        }
        result
    }

    /// Sends one entry, over a new connection if the journal was restarted.
    fn send_one(&mut self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send(entry) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::ConnectionRefused) => {
                self.socket.connect(&self.path)?;
                self.socket.send(entry).map(drop)
            }
            sent => sent.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn server(path: &Path) -> UnixDatagram {
        let server = UnixDatagram::bind(path).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        server
    }

    fn received(server: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = server.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_entry_is_a_datagram_also_after_the_journal_was_restarted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = server(&path);
        let mut socket = JournalSocket::connect(&path).unwrap();
        socket.send(b"A=1\nB=2\n\nA=3\n\n").unwrap();
        assert_eq!([received(&first), received(&first)], ["A=1\nB=2\n", "A=3\n"]);
        drop(first);
        assert!(socket.send(b"A=4\n\n").is_err(), "nobody listens");
        std::fs::remove_file(&path).unwrap();
        let second = server(&path);
        socket.send(b"A=5\n\n").unwrap();
        assert_eq!(received(&second), "A=5\n");
    }
}
