//! `cargo xtask dist`: builds what users install, into `target/dist`.
//!
//! Nothing of the machine and the moment shall be in it: paths are mapped to fixed ones, and all times are that of the commit.

mod inventory;
mod licences;
mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    files::{create, remove, text, tool, write},
    step::{Step, host},
};

/// Result, relative to the workspace root.
const FOLDER: &str = "target/dist";
/// Target directory of the build, relative to the workspace root. A build of its own: flags and paths differ.
const BUILD: &str = "target/dist-build";
/// Paths that take the place of the workspace and of cargo's home in the program.
const WORKSPACE: &str = "/spooky";
const CARGO_HOME: &str = "/cargo";
/// As in the metadata of the package.
const MAINTAINER: &str = "The Spooky project <maintainers@spooky.invalid>";
/// Completion scripts: the shell, and the file that it looks for.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "spooky.bash"), ("zsh", "_spooky"), ("fish", "spooky.fish")];
/// Files of the repository in the archive, with their places there.
const FILES: [(&str, &str); 12] = [
    ("LICENSE", "LICENSE"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("deploy/config.yaml", "config.yaml"),
    ("config/production.yaml", "examples/production.yaml"),
    ("deploy/systemd/spooky.service", "systemd/spooky.service"),
    ("deploy/systemd/optional/spooky.socket", "systemd/spooky.socket"),
    ("deploy/systemd/optional/credentials.conf", "systemd/credentials.conf"),
    ("deploy/sysctl/60-spooky.conf", "sysctl/60-spooky.conf"),
    ("deploy/logrotate/spooky", "logrotate/spooky"),
    ("deploy/apparmor/usr.bin.spooky", "apparmor/usr.bin.spooky"),
    ("deploy/nftables/spooky.nft", "examples/spooky.nft"),
    ("docs/reference/configuration.md", "configuration.md"),
];

/// Builds the archive and its checksum, and the Debian package with `deb`.
pub(crate) fn run(root: &Path, deb: bool) -> Result<(), String> {
    let target = host(root)?;
    let epoch = commit_time(root)?;
    let folder = root.join(FOLDER);
    remove(&folder)?;
    for part in ["man", "completions"] {
        create(&folder.join(part))?;
    }
    let program = build(root, &target, &epoch)?;
    split_symbols(root, &program, &folder)?;

    let product = folder.join("spooky");
    Step::program(root, &product, &["man", &text(&folder.join("man"))]).run()?;
    for (shell, file) in COMPLETIONS {
        let script = Step::program(root, &product, &["completions", shell]).output()?;
        write(&folder.join("completions").join(file), &script)?;
    }
    let packages = inventory::of(root, "spooky", &target)?;
    write(&folder.join("THIRD-PARTY-LICENSES.txt"), licences::text(&packages)?.as_bytes())?;
    write(&folder.join("spooky.cdx.json"), sbom::text(&packages, &utc(root, &epoch, sbom::RFC_3339)?)?.as_bytes())?;

    let name = format!("spooky-linux-{}", target.split('-').next().unwrap_or(&target));
    archive(root, &folder, &name, &epoch)?;
    if deb {
        let version = packages.iter().find(|package| package.name == "spooky").map(|package| package.version.as_str());
        changelog(root, &folder, version.unwrap_or_default(), &epoch)?;
        package(root, &folder, &epoch)?;
    }
    Ok(())
}

/// Returns the time of the commit in seconds since 1970, or that of `SOURCE_DATE_EPOCH`.
fn commit_time(root: &Path) -> Result<String, String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let output = Step::program(root, Path::new("git"), &["log", "-1", "--format=%ct"]).output()?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// Writes a time in UTC, in the format that an option of `date` selects.
fn utc(root: &Path, epoch: &str, format: &str) -> Result<String, String> {
    let arguments = ["--utc", format, "--date", &format!("@{epoch}")];
    let output = Step::program(root, Path::new("date"), &arguments).output()?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// Builds the program and returns its path.
fn build(root: &Path, target: &str, epoch: &str) -> Result<PathBuf, String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let home = home.ok_or("neither CARGO_HOME nor HOME is set")?;
    let maps = [(root.to_owned(), WORKSPACE), (home, CARGO_HOME)].map(|(from, to)| format!("{}={to}", text(&from)));
    let flags = maps.iter().map(|map| format!("--remap-path-prefix={map}")).collect::<Vec<_>>().join(" ");
    let c_flags = maps.iter().map(|map| format!("-ffile-prefix-map={map}")).collect::<Vec<_>>().join(" ");
    let folder = root.join(BUILD);
    Step::cargo(
        root,
        &["build", "--release", "--locked", "--target", target, "--package", "spooky", "--bin", "spooky"],
    )
    .env("CARGO_TARGET_DIR", &text(&folder))
    .env("RUSTFLAGS", &flags)
    .env("CFLAGS", &c_flags)
    .env("SOURCE_DATE_EPOCH", epoch)
    .run()?;
    Ok(folder.join(target).join("release/spooky"))
}

/// Puts the program without symbols into the folder, and its symbols beside it, for debuggers and profilers.
fn split_symbols(root: &Path, program: &Path, folder: &Path) -> Result<(), String> {
    let (product, symbols) = (text(&folder.join("spooky")), text(&folder.join("spooky.debug")));
    let run = |arguments: &[&str]| Step::program(folder, Path::new("objcopy"), arguments).run();
    Step::program(root, Path::new("cp"), &[&text(program), &product]).run()?;
    run(&["--only-keep-debug", "--compress-debug-sections", &product, &symbols])?;
    run(&["--strip-all", "--add-gnu-debuglink=spooky.debug", &product])
}

/// Writes `NAME.tar.gz` with one folder, and `NAME.tar.gz.sha256`.
fn archive(root: &Path, folder: &Path, name: &str, epoch: &str) -> Result<(), String> {
    let stage = folder.join(name);
    for (from, to) in FILES {
        let to = stage.join(to);
        create(to.parent().unwrap_or(&stage))?;
        fs::copy(root.join(from), &to).map_err(|error| format!("{from}: {error}"))?;
    }
    let stage = text(&stage);
    let parts = ["spooky", "man", "completions", "THIRD-PARTY-LICENSES.txt", "spooky.cdx.json"];
    Step::program(folder, Path::new("cp"), &[&["-r"][..], &parts, &[&stage]].concat()).run()?;
    let (tar, packed) = (format!("{name}.tar"), format!("{name}.tar.gz"));
    let mtime = format!("--mtime=@{epoch}");
    let same = ["--sort=name", &mtime, "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
    Step::program(folder, Path::new("tar"), &[&same[..], &["-cf", &tar, name]].concat()).run()?;
    Step::program(folder, Path::new("gzip"), &["--no-name", "--best", "--force", &tar]).run()?;
    let sum = Step::program(folder, Path::new("sha256sum"), &[&packed]).output()?;
    write(&folder.join(format!("{packed}.sha256")), &sum)?;
    remove(Path::new(&stage))
}

/// Writes the changelog that Debian's tools ask for. What has changed for users is in `CHANGELOG.md`.
fn changelog(root: &Path, folder: &Path, version: &str, epoch: &str) -> Result<(), String> {
    let date = utc(root, epoch, "--rfc-email")?;
    let entry = format!(
        "spooky ({version}-1) unstable; urgency=medium\n\n  * The changes of each version are in CHANGELOG.md.\n\n -- {MAINTAINER}  {date}\n"
    );
    write(&folder.join("changelog"), entry.as_bytes())
}

/// Builds the Debian package of what is in the folder.
fn package(root: &Path, folder: &Path, epoch: &str) -> Result<(), String> {
    let output = text(folder);
    let program = tool(root, "target/tools/bin/cargo-deb", "package")?;
    let arguments = ["--package", "spooky", "--no-build", "--no-strip", "--locked", "--output", &output];
    Step::program(root, &program, &arguments).env("SOURCE_DATE_EPOCH", epoch).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_archive_exists() {
        for (from, _) in FILES {
            assert!(crate::root().join(from).is_file(), "{from}");
        }
    }

    #[test]
    fn times() {
        let utc = |epoch| utc(&crate::root(), epoch, sbom::RFC_3339).unwrap();
        assert_eq!(utc("0"), "1970-01-01T00:00:00Z");
        assert_eq!(utc("951782400"), "2000-02-29T00:00:00Z");
        assert_eq!(utc("1798761599"), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn the_package_names_its_maintainer_once() {
        let manifest = fs::read_to_string(crate::root().join("spooky/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("maintainer = \"{MAINTAINER}\"")));
    }
}
