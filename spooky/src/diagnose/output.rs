//! The file of the archive. It appears under its name when it is complete, and is never written through a link: whoever may
//! write in the directory could else make root overwrite another file.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

/// Only the owner may read the archive: the log has paths and addresses of clients.
pub(super) const MODE: u32 = 0o600;

/// A file that is being written. Without [`Output::complete`], it is removed when dropped.
pub(super) struct Output {
    path: PathBuf,
    /// `None` if a device or a pipe is written directly.
    partial: Option<PathBuf>,
}

impl Output {
    pub(super) fn create(path: &Path) -> io::Result<(Self, File)> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok((Self { path: path.to_owned(), partial: None }, file));
        }
        let name = path.file_name().ok_or_else(|| io::Error::other("the output has no file name"))?;
        let partial = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial)?;
        Ok((Self { path: path.to_owned(), partial: Some(partial) }, file))
    }

    /// Gives the file its name.
    pub(super) fn complete(mut self) -> io::Result<()> {
        match self.partial.take() {
            Some(partial) => fs::rename(partial, &self.path),
            None => Ok(()),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _already_gone = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    #[test]
    fn a_link_is_replaced_and_an_unfinished_file_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (victim, link) = (directory.path().join("victim"), directory.path().join("a.tar.gz"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        let (output, mut file) = Output::create(&link).unwrap();
        file.write_all(b"archive").unwrap();
        output.complete().unwrap();
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&link).unwrap()), (b"precious".into(), b"archive".into()));
        let found = fs::symlink_metadata(&link).unwrap();
        assert_eq!((found.is_file(), found.permissions().mode() & 0o777), (true, MODE));

        drop(Output::create(&directory.path().join("b.tar.gz")).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        let (output, _null) = Output::create(Path::new("/dev/null")).unwrap();
        output.complete().unwrap();
    }
}
