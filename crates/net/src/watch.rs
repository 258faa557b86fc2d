//! Watching files by their directories (inotify), for reloads without a signal.
//!
//! Directories are watched, not files: a renewal replaces a file or a symbolic link, and the new one is another file.
//! [`directories`] says which, [`FileState`] whether something has changed, [`DirectoryWatch`] when to look.
//!
//! inotify is used directly because the capabilities that a reload raises are those of one thread: the crate `notify` adds
//! watches in a thread of its own, which may not read the directories of certbot.

mod paths;
mod state;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use paths::directories;
pub use state::FileState;

/// Changes of names in a directory, and of files that were written and closed. Not each write, of which a log file in the
/// same directory has many.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Reports changes in a set of directories.
#[derive(Debug)]
pub struct DirectoryWatch {
    inotify: AsyncFd<Descriptor>,
    watched: BTreeSet<WatchDescriptor>,
}

#[derive(Debug)]
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl DirectoryWatch {
    /// Creates a watch of no directory. Must be called within a tokio runtime with I/O enabled.
    ///
    /// Errors: those of the system, which limits the instances of each user.
    pub fn new() -> io::Result<Self> {
        let inotify = Descriptor(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?);
        // SAFETY: an `Inotify` owns one open descriptor until it is dropped and never changes it. No mutable reference to it
        // leaves this type, so it cannot be replaced.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }?;
        Ok(Self { inotify, watched: BTreeSet::new() })
    }

    /// Watches these directories and no others. Must be called again after each change, because a path may then lead to
    /// another directory. Blocks while the file system is accessed. Returns the directories that cannot be watched.
    pub fn watch(&mut self, directories: &BTreeSet<PathBuf>) -> Vec<(PathBuf, io::Error)> {
        let (mut added, mut failed) = (BTreeSet::new(), Vec::new());
        for directory in directories {
            // Returns the same descriptor if it is watched already.
            match self.inotify.get_ref().0.add_watch(directory, CHANGES) {
                Ok(descriptor) => {
                    added.insert(descriptor);
                }
                Err(error) => failed.push((directory.clone(), error.into())),
            }
        }
        for gone in self.watched.difference(&added) {
            // Fails if the directory was removed; the system has then removed its watch.
            let _ = self.inotify.get_ref().0.rm_watch(*gone);
        }
        self.watched = added;
        failed
    }

    /// Waits until something has changed in a watched directory. May return without a reason.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut guard = self.inotify.readable().await?;
        loop {
            match guard.get_inner().0.read_events() {
                Err(Errno::EAGAIN) => {
                    guard.clear_ready();
                    return Ok(());
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
