//! The log of the process: to standard error, a file or the journal, as text or JSON; and where the access log goes.
//!
//! Lines pass a bounded queue to a writer thread, so that workers do not block on a terminal, a pipe or a disk. The runtime
//! starts it once; other code logs through `tracing`.

use crate::{
    access::{AccessOutput, Destination, LineFormat, Settings, Wanted, sample_threshold},
    journal::{self, JournalEntries, JournalSocket},
    json::JsonLines,
    level::{LevelHandle, Levels, VARIABLE, filter_of},
    metrics::SharedCounter,
    open_file::{self, Owner},
    qlog::{self, QlogFiles},
    queue::{LineQueue, LogWriter, PlainLines},
    sink::{Sink, Successor},
};
use spooky_config::LogFormat;
use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, fmt, layer::SubscriberExt, registry::LookupSpan, reload, util::SubscriberInitExt};

/// Panics since the start of the log.
static PANICS: SharedCounter = SharedCounter::new();

/// Returns the number of panics since the log was started, wherever they were contained.
pub fn panics() -> u64 {
    PANICS.get()
}

/// The log of the process. Dropping it writes the queued lines.
pub struct Log {
    level: LevelHandle,
    general: Channel,
    /// The file of the access log, if it has its own.
    access_file: Option<Channel>,
    /// Earlier files of the access log that workers may still use.
    retired: Vec<LogWriter>,
    output: Arc<AccessOutput>,
    qlog: Option<(QlogFiles, LogWriter)>,
    dropped: Arc<AtomicU64>,
}

/// One destination with its queue.
struct Channel {
    queue: LineQueue,
    is_journal: bool,
    file: Option<LogFile>,
    writer: LogWriter,
}

struct LogFile {
    path: PathBuf,
    successor: Successor,
}

impl Log {
    /// Returns the destination of the access logs of the workers.
    pub fn access(&self) -> Arc<AccessOutput> {
        self.output.clone()
    }

    /// Returns the files for the events of QUIC connections, if `log.qlog_dir` is set.
    pub fn qlog(&self) -> Option<QlogFiles> {
        self.qlog.as_ref().map(|(files, _)| files.clone())
    }

    /// Returns the count of lines that were dropped because they did not fit into the queue or could not be written.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// Returns the handle by which the level can be changed and read.
    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }

    /// Applies what a reload may change: `level`, `access` and `connections`. Workers follow when they reload.
    pub fn configure(&mut self, config: &spooky_config::Log) {
        let file = config.access.file.as_deref();
        if file != self.access_file.as_ref().and_then(Channel::path) {
            let opened = file.and_then(|path| start_access_file(path, open_file(path, None), &self.dropped));
            let before = mem::replace(&mut self.access_file, opened);
            self.retired.retain(|writer| !writer.has_ended());
            self.retired.extend(before.map(|before| before.writer.retire()));
        }
        self.output.set(settings(config, &self.general, self.access_file.as_ref()));
        self.level.configure(config);
    }

    /// Opens the log files again, after they were renamed or removed. If that fails, the open file stays in use. Does nothing
    /// if there is none; `is_asked_for` says whether to report that.
    pub fn reopen(&self, is_asked_for: bool) {
        let files = [Some(&self.general), self.access_file.as_ref()];
        let files: Vec<_> = files.into_iter().flatten().filter_map(|channel| channel.file.as_ref()).collect();
        if files.is_empty() && is_asked_for {
            let destination = fallback(self.general.is_journal);
            tracing::info!("There is no log file to reopen; the log goes to {destination}");
        }
        for LogFile { path, successor } in files {
            match open_file::open(path, None) {
                Ok(file) => {
                    successor.set(file);
                    tracing::info!("Log file reopened: {}", path.display());
                }
                Err(error) => {
                    tracing::warn!(
                        "Log file {} cannot be reopened, the open one stays in use: {error}",
                        path.display()
                    );
                }
            }
        }
    }
}

impl Channel {
    fn start(sink: Sink, file: Option<LogFile>, dropped: &Arc<AtomicU64>) -> io::Result<Self> {
        let is_journal = matches!(sink, Sink::Journal(_));
        let (queue, writer) = LineQueue::start(sink, dropped.clone())?;
        Ok(Self { queue, is_journal, file, writer })
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    fn line_format(&self, format: LogFormat) -> LineFormat {
        if self.is_journal { LineFormat::Journal(format) } else { LineFormat::Text(format) }
    }
}

/// The log of a configuration whose files are open, and which has no thread yet.
pub struct OpenLog<'a> {
    config: &'a spooky_config::Log,
    general: (Sink, Option<LogFile>),
    failures: Failures,
    access_file: Option<io::Result<(Sink, LogFile)>>,
    /// The directory of qlog files, once it exists.
    qlog: Option<io::Result<Sink>>,
}

/// Opens the files of the log. `owner` will own them, for a process that drops root.
pub fn open(config: &spooky_config::Log, owner: Option<Owner>) -> OpenLog<'_> {
    let mut failures = Failures::default();
    let general = general_sink(config, owner, Path::new(journal::SOCKET), &mut failures);
    let access_file = config.access.file.as_deref().map(|path| open_file(path, owner));
    let qlog = config.qlog_dir.as_deref().map(|directory| qlog::open(directory, owner));
    OpenLog { config, general, failures, access_file, qlog }
}

impl OpenLog<'_> {
    /// Starts the log; `RUST_LOG` overrides the level. Has no effect if a log was already started.
    pub fn start(self) -> io::Result<Log> {
        let Self { config, general: (sink, file), failures, access_file, qlog } = self;
        let dropped = Arc::new(AtomicU64::new(0));
        let general = Channel::start(sink, file, &dropped)?;
        let lines = line_layer(config.format, &general);
        let levels = Levels::from_environment(config.level);
        let invalid = levels.invalid.clone();
        let (enabled, filter) = reload::Layer::new(filter_of(levels));
        let _already_started = tracing_subscriber::registry().with(enabled).with(lines).try_init();
        log_panics();
        if let Some(text) = invalid {
            tracing::warn!("{VARIABLE} '{text}' cannot be used; log.level stays in force");
        }
        failures.log(config);
        let access_path = config.access.file.as_deref().zip(access_file);
        let access_file = access_path.and_then(|(path, opened)| start_access_file(path, opened, &dropped));
        let qlog_path = config.qlog_dir.as_deref().zip(qlog);
        let qlog = qlog_path.and_then(|(directory, opened)| start_qlog(directory, opened, &dropped));
        let nothing = Wanted { requests: false, connections: false };
        let output = AccessOutput::new(settings(config, &general, access_file.as_ref()), nothing);
        let level = LevelHandle::new(filter, output.clone(), config);
        Ok(Log { level, general, access_file, retired: Vec::new(), output, qlog, dropped })
    }
}

/// Logs every panic.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.increment();
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panic captured: {} at {location}", text.unwrap_or("no message"));
    }));
}

/// Opens the file, or else the journal, or else standard error. `failures` gets what could not be opened.
fn general_sink(
    config: &spooky_config::Log,
    owner: Option<Owner>,
    journal: &Path,
    failures: &mut Failures,
) -> (Sink, Option<LogFile>) {
    if config.file.enabled {
        match open_file(&config.file.path, owner) {
            Ok((sink, file)) => return (sink, Some(file)),
            Err(error) => failures.file = Some(error),
        }
    }
    if config.journald {
        match JournalSocket::connect(journal) {
            Ok(socket) => return (Sink::Journal(socket), None),
            Err(error) => failures.journal = Some(error),
        }
    }
    (Sink::StandardError, None)
}

/// What could not be opened at the start. Logged as soon as there is a log.
#[derive(Default)]
struct Failures {
    file: Option<io::Error>,
    journal: Option<io::Error>,
}

impl Failures {
    fn log(&self, config: &spooky_config::Log) {
        if let Some(error) = &self.file {
            let (path, next) = (config.file.path.display(), fallback(config.journald));
            tracing::warn!("Log file {path} cannot be opened, the log goes to {next}: {error}");
        }
        if let Some(error) = &self.journal {
            tracing::warn!("The journal cannot be reached, the log goes to standard error: {error}");
        }
    }
}

/// Returns the name of the destination without a file.
fn fallback(is_journal: bool) -> &'static str {
    if is_journal { "the journal" } else { "standard error" }
}

/// Returns the layer that formats the events of `tracing`.
fn line_layer<S>(format: LogFormat, to: &Channel) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(to.queue.clone()).with_ansi(false);
    match to.line_format(format) {
        LineFormat::Text(LogFormat::Plain) => lines.with_writer(PlainLines(to.queue.clone())).boxed(),
        LineFormat::Text(LogFormat::Json) => lines.event_format(JsonLines).boxed(),
        LineFormat::Journal(_) => lines.event_format(JournalEntries).boxed(),
    }
}

/// Starts the access log with its own file; `None`, which means the general log, if that fails.
fn start_access_file(path: &Path, opened: io::Result<(Sink, LogFile)>, dropped: &Arc<AtomicU64>) -> Option<Channel> {
    let started = opened.and_then(|(sink, file)| Channel::start(sink, Some(file), dropped));
    if let Err(error) = &started {
        let path = path.display();
        tracing::warn!("Access log file {path} cannot be opened, access lines go to the general log: {error}");
    }
    started.ok()
}

fn start_qlog(directory: &Path, opened: io::Result<Sink>, dropped: &Arc<AtomicU64>) -> Option<(QlogFiles, LogWriter)> {
    let started = opened.and_then(|sink| QlogFiles::start(sink, dropped.clone()));
    if let Err(error) = &started {
        let directory = directory.display();
        tracing::warn!("No qlog files are written, directory {directory} cannot be created: {error}");
    }
    started.ok()
}

fn settings(config: &spooky_config::Log, general: &Channel, access_file: Option<&Channel>) -> Settings {
    let destination = |to: &Channel, format| Destination {
        queue: to.queue.clone(),
        format: to.line_format(format),
        fields: config.access.fields.clone(),
    };
    Settings {
        requests: destination(access_file.unwrap_or(general), config.access.format),
        connections: destination(general, config.format),
        sample_threshold: sample_threshold(config.access.sample_ratio),
    }
}

fn open_file(path: &Path, owner: Option<Owner>) -> io::Result<(Sink, LogFile)> {
    let (sink, successor) = Sink::file(open_file::open(path, owner)?);
    Ok((sink, LogFile { path: path.to_owned(), successor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_counted() {
        let _log = open(&spooky_config::Log::default(), None).start();
        let before = panics();
        assert!(std::thread::spawn(|| panic!("a fault for this test")).join().is_err());
        assert_eq!(panics(), before + 1);
    }

    #[test]
    fn the_journal_gets_the_events_and_their_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        server.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let config = spooky_config::Log { journald: true, ..spooky_config::Log::default() };
        let mut failures = Failures::default();
        let (sink, _) = general_sink(&config, None, &path, &mut failures);
        let channel = Channel::start(sink, None, &Arc::default()).unwrap();
        let subscriber = tracing_subscriber::registry().with(line_layer(LogFormat::Plain, &channel));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "part::a", backend_id = 7_u64, "Two\nlines of {}", "text");
        });
        let mut entry = [0; 1024];
        let length = server.recv(&mut entry).unwrap();
        let entry = std::str::from_utf8(&entry[..length]).unwrap();
        let expected =
            "PRIORITY=4\nSYSLOG_IDENTIFIER=spooky\nTARGET=part::a\nMESSAGE=Two\\x0alines of text\nBACKEND_ID=7\n";
        assert_eq!(entry, expected);
        assert!(failures.file.is_none() && failures.journal.is_none());
    }

    #[test]
    fn without_a_file_or_a_journal_the_log_goes_to_standard_error() {
        let config = spooky_config::Log { journald: true, ..spooky_config::Log::default() };
        let mut failures = Failures::default();
        let (sink, file) = general_sink(&config, None, Path::new("/nonexistent/socket"), &mut failures);
        assert!(matches!(sink, Sink::StandardError) && file.is_none());
        assert!(failures.journal.is_some());
    }
}
