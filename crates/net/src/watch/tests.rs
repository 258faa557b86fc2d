//! Renewals as certbot, Kubernetes and people make them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// Longer than any of these tests takes on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// A canonical directory: the system's directory for temporary files may be a link itself.
fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    (directory, path)
}

fn watched(path: &Path) -> Vec<PathBuf> {
    directories(path).into_iter().collect()
}

/// Replaces a link by another one in one step.
fn relink(target: &str, link: &Path) {
    let beside = link.with_file_name("..data_tmp");
    symlink(target, &beside).unwrap();
    fs::rename(beside, link).unwrap();
}

/// As Kubernetes mounts a secret: `tls.crt` -> `..data/tls.crt`, `..data` -> `..<time>`.
fn mount(directory: &Path) {
    for version in ["..1", "..2"] {
        fs::create_dir(directory.join(version)).unwrap();
        fs::write(directory.join(version).join("tls.crt"), version).unwrap();
    }
    symlink("..1", directory.join("..data")).unwrap();
    symlink("..data/tls.crt", directory.join("tls.crt")).unwrap();
}

#[test]
fn the_directory_of_each_link_on_the_way_is_watched() {
    let (_kept, root) = directory();
    let [live, archive, mounted] = ["live/a", "archive/a", "mounted"].map(|name| root.join(name));
    for path in [&live, &archive, &mounted] {
        fs::create_dir_all(path).unwrap();
    }
    fs::write(archive.join("cert1.pem"), "1").unwrap();
    symlink("../../archive/a/cert1.pem", live.join("cert.pem")).unwrap();
    assert_eq!(watched(&live.join("cert.pem")), [archive.clone(), live]);
    assert_eq!(watched(&archive.join("cert1.pem")), [archive]);
    mount(&mounted);
    assert_eq!(watched(&mounted.join("tls.crt")), [mounted.clone(), mounted.join("..1")]);
    symlink(&mounted, root.join("current")).unwrap();
    let through_link = watched(&root.join("current/tls.crt"));
    assert_eq!(through_link, [root.clone(), mounted.clone(), mounted.join("..1")]);
    assert_eq!(watched(&mounted), [root.clone(), mounted], "a directory of authorities");
}

#[test]
fn what_does_not_exist_is_watched_where_it_would_be_created() {
    let (_kept, root) = directory();
    let only = std::slice::from_ref(&root);
    assert_eq!(watched(&root.join("no/such/cert.pem")), only);
    assert_eq!(watched(&root.join("cert.pem")), only);
    symlink("gone/cert.pem", root.join("dangling")).unwrap();
    assert_eq!(watched(&root.join("dangling")), only);
    symlink("circle", root.join("circle")).unwrap();
    assert_eq!(watched(&root.join("circle")), only);
}

#[test]
fn the_state_changes_with_each_way_to_replace_a_file() {
    let (_kept, root) = directory();
    mount(&root);
    let path = root.join("tls.crt");
    let mut last = FileState::read(&path);
    let mut differs = |how: &str| {
        let now = FileState::read(&path);
        assert_ne!(now, last, "{how}");
        assert_eq!(now, FileState::read(&path), "{how}");
        last = now;
    };
    relink("..2", &root.join("..data"));
    differs("the link of a part of the path");
    fs::write(root.join("new"), "..2").unwrap();
    fs::rename(root.join("new"), root.join("..2/tls.crt")).unwrap();
    differs("another file with the same content");
    fs::remove_file(root.join("..2/tls.crt")).unwrap();
    differs("no file");
    fs::write(root.join("..2/tls.crt"), "longer than before").unwrap();
    differs("a file again");
    let authorities = FileState::read(&root.join("..1"));
    fs::write(root.join("..1/more.pem"), "more").unwrap();
    let more = FileState::read(&root.join("..1"));
    assert_ne!(authorities, more, "another file of a directory");
    fs::write(root.join("..1/more.pem"), "other content").unwrap();
    assert_ne!(FileState::read(&root.join("..1")), more, "a file of a directory");
}

/// Waits for a change and watches the directories of `path` again. Returns its state.
async fn next(watch: &mut DirectoryWatch, path: &Path) -> FileState {
    let changed = tokio::time::timeout(BOUND, watch.changed()).await;
    changed.expect("a change").unwrap();
    assert!(watch.watch(&directories(path)).is_empty());
    FileState::read(path)
}

/// Waits for changes until the state is another one.
async fn until_changed(watch: &mut DirectoryWatch, path: &Path, last: &FileState) -> FileState {
    loop {
        let state = next(watch, path).await;
        if state != *last {
            return state;
        }
    }
}

#[tokio::test]
async fn changes_are_reported_also_after_the_directory_was_replaced() {
    let (_kept, root) = directory();
    let (certs, path) = (root.join("certs"), root.join("certs/cert.pem"));
    fs::create_dir(&certs).unwrap();
    fs::write(&path, "1").unwrap();
    let mut watch = DirectoryWatch::new().unwrap();
    assert!(watch.watch(&directories(&path)).is_empty());
    let mut last = FileState::read(&path);
    fs::write(&path, "22").unwrap();
    last = until_changed(&mut watch, &path, &last).await;
    fs::write(certs.join("new"), "333").unwrap();
    fs::rename(certs.join("new"), &path).unwrap();
    last = until_changed(&mut watch, &path, &last).await;
    // Another directory in its place.
    fs::create_dir(root.join("next")).unwrap();
    fs::write(root.join("next/cert.pem"), "4444").unwrap();
    fs::rename(&certs, root.join("old")).unwrap();
    fs::rename(root.join("next"), &certs).unwrap();
    while fs::read_to_string(&path).unwrap() != "4444" || last == FileState::read(&path) {
        last = next(&mut watch, &path).await;
    }
    // Removed as a whole, then created again: what does not exist is watched for.
    fs::remove_dir_all(&certs).unwrap();
    last = until_changed(&mut watch, &path, &last).await;
    fs::create_dir(&certs).unwrap();
    fs::write(&path, "55555").unwrap();
    until_changed(&mut watch, &path, &last).await;
}

#[tokio::test]
async fn directories_that_are_no_longer_named_are_not_watched() {
    let (_kept, root) = directory();
    for name in ["one", "two"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut watch = DirectoryWatch::new().unwrap();
    watch.watch(&directories(&root.join("one/cert.pem")));
    watch.watch(&directories(&root.join("two/cert.pem")));
    // The system has queued an event when the call that causes it returns.
    let queued = |watch: &DirectoryWatch| watch.inotify.get_ref().0.read_events().map(|events| events.len());
    assert_eq!(queued(&watch), Ok(1), "the end of the first watch");
    fs::write(root.join("one/cert.pem"), "1").unwrap();
    assert_eq!(queued(&watch), Err(Errno::EAGAIN));
    fs::write(root.join("two/cert.pem"), "1").unwrap();
    tokio::time::timeout(BOUND, watch.changed()).await.expect("a change").unwrap();
    let missing = watch.watch(&BTreeSet::from([root.join("three")]));
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].0, root.join("three"));
}
