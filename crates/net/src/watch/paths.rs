//! Which directories to watch for a file: those in which a change can make its path lead to another file.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Maximum number of symbolic links of a path, as in Linux.
const MAX_LINKS: usize = 40;

/// Returns the directory of the file and that of each symbolic link on the way to it; the path itself if it is a
/// directory. If a part of the path does not exist, the directory in which it would be created. Blocks while the file
/// system is accessed.
pub fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(path) = std::path::absolute(path) else { return found };
    let (mut at, mut rest, mut links) = (PathBuf::new(), steps(&path), 0);
    while let Some(step) = rest.pop_front() {
        let name = match step {
            Step::Root => {
                at = PathBuf::from("/");
                continue;
            }
            Step::Up => {
                at.pop();
                continue;
            }
            Step::Down(name) => name,
        };
        let next = at.join(name);
        match fs::symlink_metadata(&next) {
            Ok(found_there) if found_there.is_symlink() && links < MAX_LINKS => {
                found.insert(at.clone());
                links += 1;
                let Ok(target) = fs::read_link(&next) else { break };
                for step in steps(&target).into_iter().rev() {
                    rest.push_front(step);
                }
            }
            Ok(found_there) => {
                if rest.is_empty() {
                    found.insert(at.clone());
                    if found_there.is_dir() {
                        found.insert(next.clone());
                    }
                }
                at = next;
            }
            Err(_) => {
                found.insert(at);
                break;
            }
        }
    }
    found
}

enum Step {
    Root,
    Up,
    Down(OsString),
}

fn steps(path: &Path) -> VecDeque<Step> {
    let steps = path.components().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::Prefix(_) | Component::CurDir => None,
    });
    steps.collect()
}
