//! `cargo xtask release`: builds the product with profile-guided optimization.
//!
//! Builds with counters, runs the load generator against `spooky demo`, merges the counts and builds again.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    files::{remove, text},
    step::{Step, host},
};

/// Target directory of these builds, relative to the workspace root.
const FOLDER: &str = "target/guided";
const PRODUCT: [&str; 4] = ["--package", "spooky", "--bin", "spooky"];
const GENERATOR: [&str; 4] = ["--package", "spooky-bench", "--bin", "load"];
/// The line that the demo prints when it is ready.
const SERVING: &str = "Serving until Ctrl-C.";

/// A load: the arguments of the load generator, and the path that it requests.
struct Load {
    arguments: &'static [&'static str],
    path: &'static str,
}

/// Typical loads: many concurrent small requests, a single client, bodies in both directions, new connections.
const LOADS: [Load; 5] = [
    Load { arguments: &["-c", "16", "-m", "16", "-n", "50000"], path: "/" },
    Load { arguments: &["-c", "1", "-m", "1", "-n", "10000"], path: "/" },
    Load {
        arguments: &["-c", "8", "-m", "4", "-n", "1000", "--method", "POST", "--body-bytes", "102400"],
        path: "/echo",
    },
    Load {
        arguments: &["-c", "4", "-m", "1", "-n", "500", "--method", "POST", "--body-bytes", "500000"],
        path: "/echo",
    },
    Load { arguments: &["-c", "500", "-m", "1", "-n", "500"], path: "/" },
];

/// Number of requests of a load that may fail: the instrumented product is slow and may refuse some.
const MAX_FAILED: &str = "100";

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let host = host(root)?;
    let merge = profdata(root, &host)?;
    let folder = root.join(FOLDER);
    let (counts, profile) = (folder.join("counts"), folder.join("profile"));
    remove(&counts)?;
    let built = folder.join(&host).join("release");

    // The load generator needs no optimization.
    build(root, &host, GENERATOR, "").env("CARGO_PROFILE_RELEASE_LTO", "off").run()?;
    // Both builds of the product must use the same cargo profile, because symbol names in the counts depend on it.
    build(root, &host, PRODUCT, &format!("-Cprofile-generate={}", text(&counts))).run()?;
    run_loads(root, &built)?;
    merged(root, &merge, &counts, &profile)?;
    // Separates executed from unexecuted code, which uses fewer cache lines and pages.
    let flags = format!("-Cprofile-use={} -Clink-arg=-Wl,-z,keep-text-section-prefix", text(&profile));
    build(root, &host, PRODUCT, &flags).run()?;

    let product = root.join("target/release/spooky");
    let copied = fs::create_dir_all(root.join("target/release")).and_then(|()| {
        let _none_yet = fs::remove_file(&product); // a hard link of another build's would be written through
        fs::copy(built.join("spooky"), &product)
    });
    copied.map_err(|error| format!("{}: {error}", product.display()))?;
    println!("{}", product.display());
    Ok(())
}

/// Returns the command of a release build. With an explicit host, the flags do not apply to build scripts and macros.
fn build(root: &Path, host: &str, program: [&str; 4], flags: &str) -> Step {
    Step::cargo(root, &[&["build", "--release", "--locked", "--target", host][..], &program].concat())
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &text(&root.join(FOLDER)))
}

/// Starts the demo, runs each load against it and stops it, which writes the counts.
fn run_loads(root: &Path, built: &Path) -> Result<(), String> {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let port = port.map_err(|error| format!("no free port: {error}"))?.port();
    let mut demo = Demo::start(&built.join("spooky"), port)?;
    let generator = built.join("load");
    for load in &LOADS {
        let url = format!("https://127.0.0.1:{port}{}", load.path);
        let arguments = [load.arguments, &["--max-failed", MAX_FAILED, "--insecure", &url]].concat();
        Step::program(root, &generator, &arguments).run()?;
    }
    demo.stop()
}

/// The process of the demo. Dropping it kills the process.
struct Demo(Child);

impl Demo {
    fn start(program: &Path, port: u16) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(["demo", "--port", &port.to_string()]).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let mut demo = Self(child);
        let Some(output) = demo.0.stdout.take() else { return Err("the demo has no output".to_owned()) };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while !line.trim_end().ends_with(SERVING) {
            line.clear();
            if output.read_line(&mut line).map_err(|error| format!("the demo: {error}"))? == 0 {
                return Err("the demo ended before it served".to_owned());
            }
        }
        // The demo blocks if nothing reads its output.
        std::thread::spawn(move || output.read_to_string(&mut String::new()));
        Ok(demo)
    }

    /// Interrupts the demo and waits for its end, which the demo itself limits.
    fn stop(&mut self) -> Result<(), String> {
        let interrupt = format!("kill -INT {}", self.0.id());
        let asked = Command::new("sh").args(["-c", &interrupt]).status();
        let ended = asked.and_then(|_| self.0.wait()).map_err(|error| format!("{interrupt}: {error}"))?;
        if ended.success() { Ok(()) } else { Err(format!("the demo failed ({ended})")) }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _no_zombie = self.0.wait();
    }
}

fn merged(root: &Path, program: &Path, counts: &Path, profile: &Path) -> Result<(), String> {
    Step::program(root, program, &["merge", "--output", &text(profile), &text(counts)]).run()
}

/// Returns the path of `llvm-profdata`, with the LLVM version of the compiler.
fn profdata(root: &Path, host: &str) -> Result<PathBuf, String> {
    let sysroot = Step::program(root, Path::new("rustc"), &["--print", "sysroot"]).output()?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    let program = sysroot.join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if program.is_file() {
        return Ok(program);
    }
    Err(format!("{} is missing; `rustup component add llvm-tools` installs it", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_is_what_the_demo_says() {
        let demo = fs::read_to_string(crate::root().join("spooky/src/demo/mod.rs")).unwrap();
        assert!(demo.contains(SERVING));
    }

    #[test]
    fn a_missing_program_is_named_with_its_remedy() {
        let message = profdata(&crate::root(), "no-such-host").unwrap_err();
        assert!(
            message.contains("no-such-host/bin/llvm-profdata is missing; `rustup component add llvm-tools`"),
            "{message}"
        );
    }
}
