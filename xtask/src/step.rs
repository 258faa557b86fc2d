//! Runs external commands. Prints each command, and names it in the error if it fails.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A command that runs in the root of the workspace.
pub(crate) struct Step {
    name: String,
    command: Command,
}

impl Step {
    pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command.args(arguments).current_dir(root);
        Self { name: format!("cargo {}", arguments.join(" ")), command }
    }

    pub(crate) fn program(root: &Path, program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root);
        Self { name: format!("{} {}", program.display(), arguments.join(" ")), command }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the command with the terminal as its output.
    pub(crate) fn run(mut self) -> Result<(), String> {
        eprintln!("==> {}", self.name);
        let began = Instant::now();
        let status = self.command.status().map_err(|error| format!("{}: {error}", self.name))?;
        if !status.success() {
            return Err(format!("{} failed ({status})", self.name));
        }
        eprintln!("    done in {} s", began.elapsed().as_secs());
        Ok(())
    }

    /// Runs the command without output. Returns whether it succeeds.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Runs the command and returns its standard output.
    pub(crate) fn output(mut self) -> Result<Vec<u8>, String> {
        let output =
            self.command.stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", self.name))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(format!("{} failed ({})", self.name, output.status))
        }
    }
}

/// Returns the target triple of this machine. With an explicit target, flags do not apply to build scripts and procedural
/// macros.
pub(crate) fn host(root: &Path) -> Result<String, String> {
    let output = Step::program(root, Path::new("rustc"), &["-vV"]).output()?;
    let text = String::from_utf8_lossy(&output).into_owned();
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}
