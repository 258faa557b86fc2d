//! Files and folders, with errors that name them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::step::Step;

pub(crate) fn create(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))
}

/// Removes a folder with all that it contains, if it exists.
pub(crate) fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns the path of a program that `.ci/tools PART` puts at `place`; if it is not there, one in `PATH`.
pub(crate) fn tool(root: &Path, place: &str, part: &str) -> Result<PathBuf, String> {
    let installed = root.join(place);
    let name = installed.file_name().unwrap_or_default().to_owned();
    let program = if installed.exists() { installed } else { PathBuf::from(&name) };
    if Step::program(root, &program, &["--version"]).succeeds() {
        return Ok(program);
    }
    Err(format!("{} is missing: `.ci/tools {part}` installs it", name.display()))
}
