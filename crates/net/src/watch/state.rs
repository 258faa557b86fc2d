//! What identifies the content of a file without reading it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Identity, size and times of the file to which a path leads, or of all files of a directory. Equal as long as nothing
/// was changed; absent files are equal too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    file: Option<Stamp>,
    /// Of a directory, sorted by name.
    entries: Vec<(std::ffi::OsString, Option<Stamp>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Changes with each change of content, permissions or links, and cannot be set by programs.
    changed: (i64, i64),
}

impl FileState {
    /// Reads the state. Blocks while the file system is accessed.
    pub fn read(path: &Path) -> Self {
        let found = fs::metadata(path).ok();
        let mut entries = Vec::new();
        if found.as_ref().is_some_and(Metadata::is_dir) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                entries.push((entry.file_name(), fs::metadata(entry.path()).ok().map(|found| stamp(&found))));
            }
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Self { file: found.as_ref().map(stamp), entries }
    }
}

fn stamp(found: &Metadata) -> Stamp {
    Stamp {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    }
}
