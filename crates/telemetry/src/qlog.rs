//! One file for each QUIC connection, with the events of its transport (`log.qlog_dir`). The log's writer thread writes them,
//! so that no worker waits for a disk.

use crate::{
    open_file::{self, Owner},
    queue::{LineQueue, LogWriter},
    sink::Sink,
};
use std::{
    io, mem,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

/// Size from which a block of events is handed over.
const BLOCK: usize = 16 * 1024;

/// The files of all connections.
#[derive(Clone)]
pub struct QlogFiles {
    queue: LineQueue,
}

/// The file of one connection. Dropping it hands over its last events.
pub struct QlogFile {
    queue: LineQueue,
    name: String,
    block: Vec<u8>,
}

/// Creates the directory if it is missing, and gives it to `owner`.
pub(crate) fn open(directory: &Path, owner: Option<Owner>) -> io::Result<Sink> {
    open_file::create_directory(directory, owner)?;
    Ok(Sink::Directory(directory.to_owned()))
}

impl QlogFiles {
    /// Starts the thread that writes.
    pub(crate) fn start(directory: Sink, dropped: Arc<AtomicU64>) -> io::Result<(Self, LogWriter)> {
        let (queue, writer) = LineQueue::start(directory, dropped)?;
        Ok((Self { queue }, writer))
    }

    /// Returns the file with this name, which is created with its first events.
    pub fn create(&self, name: String) -> QlogFile {
        QlogFile { queue: self.queue.clone(), name, block: Vec::new() }
    }
}

impl QlogFile {
    fn hand_over(&mut self) {
        if !self.block.is_empty() {
            self.queue.push(mem::take(&mut self.block), 1);
        }
    }
}

impl io::Write for QlogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            self.block.extend_from_slice(self.name.as_bytes());
            self.block.push(b'\n');
        }
        self.block.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Called after every event. Small blocks wait for more.
    fn flush(&mut self) -> io::Result<()> {
        if self.block.len() >= BLOCK {
            self.hand_over();
        }
        Ok(())
    }
}

impl Drop for QlogFile {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write as _, sync::atomic::Ordering::Relaxed};

    #[test]
    fn each_connection_has_a_file_with_all_of_its_events() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qlog");
        let dropped = Arc::new(AtomicU64::new(0));
        let (files, writer) = QlogFiles::start(open(&path, None).unwrap(), dropped.clone()).unwrap();
        let mut open: Vec<_> = (0..2).map(|number| files.create(format!("{number}.sqlog"))).collect();
        for event in 0..5000 {
            for (number, file) in open.iter_mut().enumerate() {
                writeln!(file, "{number} {event}").unwrap();
                file.flush().unwrap();
            }
        }
        drop((open, files, writer));
        for number in 0..2 {
            let text = fs::read_to_string(path.join(format!("{number}.sqlog"))).unwrap();
            let expected = (0..5000).fold(String::new(), |text, event| text + &format!("{number} {event}\n"));
            assert!(text == expected, "{number}: {} bytes", text.len());
        }
        assert_eq!(dropped.load(Relaxed), 0);
    }
}
