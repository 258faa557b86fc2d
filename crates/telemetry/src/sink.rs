//! Where the lines of the log go: to standard error, to the journal, or to a file that can be opened again after it was rotated.

use crate::{journal::JournalSocket, open_file::FILE_MODE};
use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Writes whole lines. The log's thread owns it.
pub(crate) enum Sink {
    StandardError,
    Journal(JournalSocket),
    /// Files in this directory. Each entry begins with a line with the name of its file.
    Directory(PathBuf),
    File(LineFile),
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
        (Self::File(LineFile { file, successor: successor.clone(), is_torn: false }), successor)
    }

    /// Writes whole lines. A file never changes within a line.
    pub(crate) fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::StandardError => io::stderr().write_all(lines),
            Self::Journal(socket) => socket.send(lines),
            Self::Directory(directory) => append_to(directory, lines),
            Self::File(file) => file.write_lines(lines),
        }
    }
}

/// A file that can be replaced between two lines.
pub(crate) struct LineFile {
    file: File,
    successor: Successor,
    /// The end of the file is a part of a line, because the rest could not be written.
    is_torn: bool,
}

impl LineFile {
    /// Ends a line first of which only a part was written, so that the next one does not become part of it.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Some(next) = self.successor.take() {
            (self.file, self.is_torn) = (next, false);
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let result = match self.file.write(rest) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    written += length;
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
                Err(error) => Err(error),
            };
            if result.is_err() {
                self.is_torn = lines.get(..written).and_then(<[u8]>::last).is_some_and(|last| *last != b'\n');
                return result;
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_file::open;
    use std::fs;

    #[test]
    fn a_line_of_which_a_part_was_written_is_ended_before_the_next_one() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let (mut sink, _successor) = Sink::file(File::from(std::os::fd::OwnedFd::from(pipe)));
        let writer = std::thread::spawn(move || {
            let long = vec![b'x'; 1024 * 1024];
            let torn = sink.write_lines(&long).is_err();
            (sink, torn)
        });
        let mut some = [0; 10];
        io::Read::read_exact(&mut reader, &mut some).unwrap();
        drop(reader);
        let (mut sink, is_torn) = writer.join().unwrap();
        assert!(is_torn);
        let Sink::File(line_file) = &mut sink else { panic!("no file") };
        assert!(line_file.is_torn);
        let (mut reader, pipe) = io::pipe().unwrap();
        line_file.file = File::from(std::os::fd::OwnedFd::from(pipe));
        sink.write_lines(b"whole\n").unwrap();
        sink.write_lines(b"next\n").unwrap();
        drop(sink);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "\nwhole\nnext\n");
    }

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
