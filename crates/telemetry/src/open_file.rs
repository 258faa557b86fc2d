//! Opens log files, and gives them to the user that the process becomes. The directory may already belong to that user, so
//! root must not follow its links: it would append to a file of the system, or give it away.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, chown, fchown},
    path::Path,
};

/// Permissions of a new log file: lines may contain addresses and paths of clients.
pub(crate) const FILE_MODE: u32 = 0o640;

/// User and group that will own the files, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Number of the user.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
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
///
/// With an `owner`, a link in a directory of somebody else than root is refused, and so is a file with several names there.
pub(crate) fn open(path: &Path, owner: Option<Owner>) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        create_directory(directory, owner)?;
    }
    let Some(owner) = owner.filter(|_| !is_in_directory_of_root(path)) else {
        let file = open_or_create(path)?;
        return give(file, owner);
    };
    let file = open_or_create(path)?;
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(io::Error::other("it is a symbolic link in a directory that does not belong to root"));
    }
    if opened.is_file() && opened.nlink() > 1 {
        return Err(io::Error::other("it has several names, in a directory that does not belong to root"));
    }
    give(file, Some(owner))
}

fn is_in_directory_of_root(path: &Path) -> bool {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let only_root_writes = |found: Metadata| found.uid() == 0 && found.mode() & 0o022 == 0;
    fs::metadata(directory).is_ok_and(only_root_writes)
}

fn give(file: File, owner: Option<Owner>) -> io::Result<File> {
    if let Some(Owner { user, group }) = owner
        && file.metadata()?.is_file()
    {
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// Never creates the target of a link, and never waits for the reader of a pipe.
fn open_or_create(path: &Path) -> io::Result<File> {
    let is_pipe = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    // While a pipe is open for reading, opening it to write does not wait. Without another reader, writing fails at once.
    let _reader = if is_pipe { Some(OpenOptions::new().read(true).write(true).open(path)?) } else { None };
    let mut options = OpenOptions::new();
    match options.append(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => options.create_new(true).mode(FILE_MODE).open(path),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write as _,
        os::unix::fs::symlink,
        process::{Command, id},
    };

    /// A directory that does not belong to root alone, as after the first start of a process that drops root.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(directory.path(), everybody).unwrap();
        directory
    }

    /// This process itself, so that the tests need no root.
    fn owner() -> Owner {
        let found = fs::metadata(format!("/proc/{}", id())).unwrap();
        Owner { user: found.uid(), group: found.gid() }
    }

    #[test]
    fn root_follows_no_link_of_somebody_else() {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "").unwrap();
        symlink(at("victim"), at("symbolic")).unwrap();
        fs::hard_link(at("victim"), at("hard")).unwrap();
        symlink(at("new"), at("dangling")).unwrap();
        for name in ["symbolic", "hard", "dangling"] {
            assert!(open(&at(name), Some(owner())).is_err(), "{name}");
        }
        assert!(!at("new").exists(), "the target of a link was created");
        open(&at("plain"), Some(owner())).unwrap().write_all(b"x").unwrap();
        open(&at("plain"), Some(owner())).unwrap().write_all(b"y").unwrap();
        assert_eq!(fs::read(at("plain")).unwrap(), b"xy");
        // Whoever stays the same user may use links.
        open(&at("symbolic"), None).unwrap().write_all(b"z").unwrap();
        assert_eq!(fs::read(at("victim")).unwrap(), b"z");
    }

    #[test]
    fn a_pipe_without_a_reader_is_opened_at_once_and_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (opened, result) = std::sync::mpsc::channel();
        let pipe = path.clone();
        std::thread::spawn(move || opened.send(open(&pipe, None)));
        let mut file = result.recv_timeout(std::time::Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(file.write_all(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut reader = File::open(&path).unwrap();
        file.write_all(b"line").unwrap();
        let mut line = [0; 4];
        io::Read::read_exact(&mut reader, &mut line).unwrap();
        assert_eq!(&line, b"line");
    }
}
