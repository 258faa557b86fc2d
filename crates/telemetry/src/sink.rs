//! Where the lines of the log go: to standard error, to the journal, or to a file that can be opened again after it was rotated.

use crate::journal::JournalSocket;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt as _, chown, fchown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Permissions of a new log file: lines may contain addresses and paths of clients.
const FILE_MODE: u32 = 0o640;

/// User and group that will own the files, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Number of the user.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
}

/// Writes whole lines. The log's thread owns it.
pub(crate) enum Sink {
    StandardError,
    Journal(JournalSocket),
    /// Files in this directory. Each entry begins with a line with the name of its file.
    Directory(PathBuf),
    File {
        file: File,
        successor: Successor,
    },
}

/// The file that takes the place of the current one with the next line.
#[derive(Clone, Default)]
pub(crate) struct Successor(Arc<Mutex<Option<File>>>);

impl Successor {
    pub(crate) fn set(&self, file: File) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    fn take(&self) -> Option<File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Sink {
    /// Returns a sink that writes to a file, and the means to replace the file.
    pub(crate) fn file(file: File) -> (Self, Successor) {
        let successor = Successor::default();
        (Self::File { file, successor: successor.clone() }, successor)
    }

    /// Writes whole lines. A file never changes within a line.
    pub(crate) fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::StandardError => io::stderr().write_all(lines),
            Self::Journal(socket) => socket.send(lines),
            Self::Directory(directory) => append_to(directory, lines),
            Self::File { file, successor } => {
                if let Some(next) = successor.take() {
                    *file = next;
                }
                file.write_all(lines)
            }
        }
    }
}

/// Appends an entry to the file that its first line names.
fn append_to(directory: &Path, entry: &[u8]) -> io::Result<()> {
    let Some(end) = entry.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
    let (name, events) = entry.split_at(end);
    let name = std::str::from_utf8(name).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(directory.join(name))?;
    file.write_all(events.get(1..).unwrap_or_default())
}

/// Creates a directory if it is missing, and gives it to `owner`.
pub(crate) fn create_directory(directory: &Path, owner: Option<Owner>) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.exists() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    if let Some(Owner { user, group }) = owner {
        chown(directory, Some(user), Some(group))?;
    }
    Ok(())
}

/// Opens a log file to append to, and creates it and its directory if they are missing. What it creates is given to `owner`,
/// and so is the file, so that it can be opened again when root is dropped.
pub(crate) fn open(path: &Path, owner: Option<Owner>) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        create_directory(directory, owner)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
    if let Some(Owner { user, group }) = owner
        && file.metadata()?.is_file()
    {
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_new_file_from_the_next_one_on() {
        let directory = tempfile::tempdir().unwrap();
        let (path, rotated) = (directory.path().join("logs/spooky.log"), directory.path().join("spooky.log.1"));
        let (mut sink, successor) = Sink::file(open(&path, None).unwrap());
        sink.write_lines(b"one\n").unwrap();
        fs::rename(&path, &rotated).unwrap();
        sink.write_lines(b"two\n").unwrap();
        successor.set(open(&path, None).unwrap());
        sink.write_lines(b"three\n").unwrap();
        sink.write_lines(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\nfour\n");
    }

    #[test]
    fn an_existing_file_is_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spooky.log");
        fs::write(&path, "before\n").unwrap();
        open(&path, None).unwrap().write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }
}
