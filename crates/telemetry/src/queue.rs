//! The bounded queue from all threads to the thread that writes the log, so that nobody blocks on a terminal, a pipe or a
//! disk. What does not fit is dropped and counted.

use crate::sink::Sink;
use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of waiting entries: lines of the general log, and buffers of access lines.
const MAX_WAITING_ENTRIES: usize = 8192;
/// Maximum number of waiting bytes.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// How long the end of the process waits for a file or pipe that takes nothing.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Whole lines on their way to the writer.
struct Entry {
    bytes: Vec<u8>,
    lines: u32,
}

/// The sending half of the queue.
#[derive(Clone)]
pub(crate) struct LineQueue {
    sender: SyncSender<Entry>,
    state: Arc<QueueState>,
}

struct QueueState {
    waiting_bytes: AtomicUsize,
    /// The number of lines that no writer has written.
    dropped: Arc<AtomicU64>,
    is_ending: AtomicBool,
}

/// The thread that writes. Dropping it waits until everything queued is written, but not for a destination that is blocked.
pub(crate) struct LogWriter {
    /// `None` if it ends when the last queue is dropped.
    queue: Option<LineQueue>,
    ended: Receiver<()>,
}

impl LineQueue {
    /// Starts a thread that writes to `sink`. Lines that are dropped increase `dropped`.
    pub(crate) fn start(sink: Sink, dropped: Arc<AtomicU64>) -> io::Result<(Self, LogWriter)> {
        let (sender, entries) = sync_channel(MAX_WAITING_ENTRIES);
        let (is_running, ended) = sync_channel(0);
        let (waiting_bytes, is_ending) = (AtomicUsize::new(0), AtomicBool::new(false));
        let state = Arc::new(QueueState { waiting_bytes, dropped, is_ending });
        let queue = Self { sender, state: state.clone() };
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_entries(&entries, &state, sink);
            drop(entries); // so that what is pushed after the end is counted
            drop(is_running);
        })?;
        Ok((queue.clone(), LogWriter { queue: Some(queue), ended }))
    }

    /// Returns a queue that drops everything.
    pub(crate) fn closed() -> Self {
        let (waiting_bytes, is_ending) = (AtomicUsize::new(0), AtomicBool::new(true));
        let state = Arc::new(QueueState { waiting_bytes, dropped: Arc::default(), is_ending });
        Self { sender: sync_channel(0).0, state }
    }

    /// Queues whole lines, or drops and counts them. Does not block.
    pub(crate) fn push(&self, bytes: Vec<u8>, lines: u32) {
        let length = bytes.capacity();
        let fits = self.state.waiting_bytes.fetch_add(length, Relaxed) + length <= MAX_WAITING_BYTES;
        if !fits || self.sender.try_send(Entry { bytes, lines }).is_err() {
            self.state.waiting_bytes.fetch_sub(length, Relaxed);
            self.state.dropped.fetch_add(u64::from(lines), Relaxed);
        }
    }
}

fn write_entries(entries: &Receiver<Entry>, state: &QueueState, mut sink: Sink) {
    loop {
        let entry = match entries.try_recv() {
            Ok(entry) => entry,
            Err(TryRecvError::Empty) if !state.is_ending.load(SeqCst) => match entries.recv() {
                Ok(entry) => entry,
                Err(_) => return,
            },
            Err(_) => return,
        };
        let length = entry.bytes.capacity();
        if sink.write_lines(&entry.bytes).is_err() {
            state.dropped.fetch_add(u64::from(entry.lines), Relaxed);
        }
        state.waiting_bytes.fetch_sub(length, Relaxed);
    }
}

impl LogWriter {
    /// Lets the thread end as soon as nobody can queue lines any more.
    pub(crate) fn retire(mut self) -> Self {
        self.queue = None;
        self
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.state.is_ending.store(true, SeqCst);
            // Wakes the thread. It is awake anyway if the queue is full.
            let _full = queue.sender.try_send(Entry { bytes: Vec::new(), lines: 0 });
        }
        let _ended_or_blocked: Result<(), RecvTimeoutError> = self.ended.recv_timeout(END_PATIENCE);
    }
}

/// Collects what the formatter writes for one event, and queues it when dropped.
pub(crate) struct EventWriter<'a> {
    queue: &'a LineQueue,
    bytes: Vec<u8>,
    is_plain: bool,
}

impl io::Write for EventWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for EventWriter<'_> {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let bytes = mem::take(&mut self.bytes);
        self.queue.push(if self.is_plain { one_line(bytes) } else { bytes }, 1);
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> EventWriter<'a> {
        EventWriter { queue: self, bytes: Vec::new(), is_plain: false }
    }
}

/// Writes events as text, in which nothing that was not meant to be a line can look like one.
#[derive(Clone)]
pub(crate) struct PlainLines(pub(crate) LineQueue);

impl<'a> MakeWriter<'a> for PlainLines {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> EventWriter<'a> {
        EventWriter { queue: &self.0, bytes: Vec::new(), is_plain: true }
    }
}

/// Escapes control characters. Newlines stay at the end of the line and before an indented one, which a hint is.
fn one_line(bytes: Vec<u8>) -> Vec<u8> {
    let (text, end) = bytes.split_at(bytes.len() - usize::from(bytes.ends_with(b"\n")));
    if !text.iter().any(u8::is_ascii_control) {
        return bytes;
    }
    let mut line = Vec::with_capacity(bytes.len() + 16);
    for (at, byte) in text.iter().enumerate() {
        let is_indented = || text.get(at + 1..).is_some_and(|rest| rest.starts_with(b"    "));
        if byte.is_ascii_control() && !(*byte == b'\n' && is_indented()) {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            line.push(*byte);
        }
    }
    line.extend_from_slice(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_file;
    use std::{fs, io::Read as _, sync::atomic::Ordering::Relaxed};

    #[test]
    fn what_is_queued_is_written_before_the_writer_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let dropped = Arc::new(AtomicU64::new(0));
        let (queue, writer) =
            LineQueue::start(Sink::file(open_file::open(&path, None).unwrap()).0, dropped.clone()).unwrap();
        for number in 0..1000 {
            queue.push(format!("{number}\n").into_bytes(), 1);
        }
        drop(writer);
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!((written.lines().count(), written.lines().last()), (1000, Some("999")));
        assert_eq!(dropped.load(Relaxed), 0);
        queue.push(b"late\n".to_vec(), 1);
        assert_eq!(dropped.load(Relaxed), 1, "a line after the end is counted");
    }

    #[test]
    fn control_characters_do_not_look_like_lines() {
        for (text, expected) in [
            ("a line\n", "a line\n"),
            ("no end", "no end"),
            ("one\r\nERROR two\x1b[31m\n", "one\\x0d\\x0aERROR two\\x1b[31m\n"),
            ("wrong\n    hint: right\n", "wrong\n    hint: right\n"),
            ("\n", "\n"),
            ("\n\n", "\\x0a\n"),
        ] {
            assert_eq!(String::from_utf8(one_line(text.as_bytes().to_vec())).unwrap(), expected);
        }
    }

    #[test]
    fn what_a_blocked_pipe_does_not_take_is_counted_in_lines() {
        let (mut reader, writer) = io::pipe().unwrap();
        let dropped = Arc::new(AtomicU64::new(0));
        let (sink, _) = Sink::file(fs::File::from(std::os::fd::OwnedFd::from(writer)));
        let (queue, writer) = LineQueue::start(sink, dropped.clone()).unwrap();
        let mut pushed = 0_u64;
        while dropped.load(Relaxed) < 64 {
            queue.push([b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>().repeat(32), 32);
            pushed += 32;
        }
        let copied = thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|length| length as u64 / 1024)
        });
        drop((queue, writer));
        let written = copied.join().unwrap().unwrap();
        assert_eq!(written + dropped.load(Relaxed), pushed);
        assert!(written * 1024 >= MAX_WAITING_BYTES as u64 - 64 * 1024, "{written} lines fit");
    }
}
