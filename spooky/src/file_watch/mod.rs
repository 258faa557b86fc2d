//! The thread that watches the files of the configuration and reports when they must be read again. It reads none of them.
//!
//! The system reports changes in the directories of the files (`net::watch`). Because network file systems do not, and a
//! directory may not be watched for want of permissions or of resources, the files are also looked at once a minute.

mod files;
mod settling;

pub(crate) use files::certificate_files;

use crate::{
    control::{Control, ControlState, SeenVersion},
    restart::{RestartBackoff, RunFailure, supervise},
};
use settling::{Decision, Settling};
use spooky_config::Config;
use spooky_net::{
    sys::privileges::raise_retained,
    watch::{DirectoryWatch, FileState, directories},
};
use std::{
    collections::BTreeSet,
    future::{pending, poll_fn},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Builder,
    sync::mpsc::{Receiver, Sender, channel},
    time::{sleep, sleep_until},
};

/// Time between two looks at the files if the system reports no change.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum time between two looks, because other files in the same directories may change often.
const MIN_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What must be reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileChange {
    /// The configuration file.
    Config,
    /// A file of a certificate.
    Certificates,
}

/// The files to watch.
#[derive(Debug, Default, PartialEq, Eq)]
struct WatchList {
    /// Empty if it is not watched.
    config: Vec<PathBuf>,
    /// Empty if they are not watched.
    certificates: Vec<PathBuf>,
    debounce: Duration,
}

impl WatchList {
    fn new(file: &Path, config: &Config) -> Self {
        let reload = &config.reload;
        Self {
            config: if reload.watch_config { vec![file.to_owned()] } else { Vec::new() },
            certificates: if reload.watch_certificates { certificate_files(config) } else { Vec::new() },
            debounce: reload.debounce_ms,
        }
    }

    fn is_empty(&self) -> bool {
        self.config.is_empty() && self.certificates.is_empty()
    }
}

/// Receives what the thread reports, and tells it what to watch.
pub(crate) struct FileWatch {
    control: Arc<Control<Arc<WatchList>>>,
    changes: Receiver<FileChange>,
}

impl FileWatch {
    /// Starts the thread. `file` is the path of the configuration.
    pub(crate) fn start(file: &Path, config: &Config) -> io::Result<Self> {
        let control = Arc::new(Control::new(Arc::new(WatchList::new(file, config))));
        // A report that waits stands for all changes before it is received.
        let (sender, changes) = channel(1);
        let of_thread = control.clone();
        // Not joined: a file server that hangs must not hold up the end of the process.
        std::thread::Builder::new().name("file-watch".to_owned()).spawn(move || run(&of_thread, &sender))?;
        Ok(Self { control, changes })
    }

    /// Watches the files of this configuration from now on.
    pub(crate) fn follow(&self, file: &Path, config: &Config) {
        self.control.reload(Arc::new(WatchList::new(file, config)));
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) -> FileChange {
        match self.changes.recv().await {
            Some(change) => change,
            None => pending().await,
        }
    }
}

fn run(control: &Control<Arc<WatchList>>, changes: &Sender<FileChange>) {
    let report = |end, pause: Duration| {
        let pause = pause.as_millis();
        match end {
            RunFailure::Error(error) => {
                tracing::error!("Files are not watched: no Tokio runtime available: {error}; restarting in {pause} ms");
            }
            RunFailure::Panic => tracing::error!("Background task 'file-watch' panicked; restarting in {pause} ms"),
        }
    };
    supervise(control, RestartBackoff::new(), |_| run_once(control, changes), report);
}

fn run_once(control: &Control<Arc<WatchList>>, changes: &Sender<FileChange>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let mut seen = SeenVersion::default();
    let watcher = Watcher::new(control.read(&mut seen).setup);
    runtime.block_on(watcher.run(control, seen, changes));
    Ok(())
}

struct Watcher {
    list: Arc<WatchList>,
    /// `None` until something is to be watched, and if the system refuses.
    directories: Option<DirectoryWatch>,
    /// The directories whose failure was logged, and `None` for all of them.
    unwatched: BTreeSet<Option<PathBuf>>,
    config: Settling<Vec<FileState>>,
    certificates: Settling<Vec<FileState>>,
}

impl Watcher {
    fn new(list: Arc<WatchList>) -> Self {
        Self {
            // The process has just read the configuration. Certificates are loaded again, which changes nothing if they are
            // those in use.
            config: Settling::new(Some(states(&list.config))),
            certificates: Settling::new(None),
            list,
            directories: None,
            unwatched: BTreeSet::new(),
        }
    }

    /// Runs until nobody receives changes any more.
    async fn run(mut self, control: &Control<Arc<WatchList>>, mut seen: SeenVersion, changes: &Sender<FileChange>) {
        while !changes.is_closed() {
            let decisions = self.look();
            for (change, decision) in decisions {
                if decision == Decision::Read && changes.send(change).await.is_err() {
                    return;
                }
            }
            let due = decisions.into_iter().filter_map(|(_, decision)| match decision {
                Decision::LookAt(at) => Some(at),
                Decision::Wait | Decision::Read => None,
            });
            let due = due.min().unwrap_or_else(|| Instant::now() + LOOK_INTERVAL);
            tokio::select! {
                () = self.until_reported() => sleep(MIN_LOOK_INTERVAL).await,
                list = next_list(control, &mut seen) => self.follow(list),
                () = sleep_until(due.into()) => {}
                () = changes.closed() => return,
            }
        }
    }

    fn follow(&mut self, list: Arc<WatchList>) {
        if list.config != self.list.config {
            self.config = Settling::new(Some(states(&list.config)));
        }
        self.unwatched.clear();
        self.list = list;
    }

    /// Looks at the files, and watches the directories in which they can change.
    fn look(&mut self) -> [(FileChange, Decision); 2] {
        // Certbot keeps keys in directories that only root may enter. If the capabilities cannot be raised, what cannot be
        // read counts as absent.
        let _raised = raise_retained();
        // Before the files are looked at, so that no change is missed in between.
        self.watch_directories();
        let (list, now) = (self.list.clone(), Instant::now());
        let decide = |settling: &mut Settling<_>, files: &[PathBuf]| {
            if files.is_empty() { Decision::Wait } else { settling.found(states(files), now, list.debounce) }
        };
        [
            (FileChange::Config, decide(&mut self.config, &list.config)),
            (FileChange::Certificates, decide(&mut self.certificates, &list.certificates)),
        ]
    }

    fn watch_directories(&mut self) {
        if self.directories.is_none() && !self.list.is_empty() {
            match DirectoryWatch::new() {
                Ok(watch) => self.directories = Some(watch),
                Err(error) => self.log_unwatched(None, &error),
            }
        }
        let Some(watch) = &mut self.directories else { return };
        let files = self.list.config.iter().chain(&self.list.certificates);
        for (directory, error) in watch.watch(&files.flat_map(|file| directories(file)).collect()) {
            self.log_unwatched(Some(directory), &error);
        }
    }

    fn log_unwatched(&mut self, directory: Option<PathBuf>, error: &io::Error) {
        let name = directory.as_deref().map_or_else(|| "files".into(), Path::to_string_lossy).into_owned();
        if self.unwatched.insert(directory) {
            let seconds = LOOK_INTERVAL.as_secs();
            tracing::warn!(
                "Changes in {name} are noticed after up to {seconds} s, because it cannot be watched: {error}"
            );
        }
    }

    /// Waits for a change in a watched directory.
    async fn until_reported(&mut self) {
        let Some(watch) = &mut self.directories else { return pending().await };
        if let Err(error) = watch.changed().await {
            self.directories = None;
            self.log_unwatched(None, &error);
            pending::<()>().await;
        }
    }
}

fn states(files: &[PathBuf]) -> Vec<FileState> {
    files.iter().map(|file| FileState::read(file)).collect()
}

/// Waits for other files to watch.
async fn next_list(control: &Control<Arc<WatchList>>, seen: &mut SeenVersion) -> Arc<WatchList> {
    poll_fn(|cx| match control.poll(seen, cx) {
        Some(ControlState { setup, .. }) => Poll::Ready(setup),
        None => Poll::Pending,
    })
    .await
}
