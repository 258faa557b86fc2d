//! `security.sandbox`. All other tests run with `auto`, so what the sandbox must not break is tested there.

use std::collections::BTreeMap;
use std::path::Path;

use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::{program, wait};

use crate::proxy::{Proxy, SPOOKY};

/// Returns the mode of seccomp of each thread: 0 without a filter, 2 with one.
fn modes(proxy: &Proxy) -> BTreeMap<String, String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    let modes = tasks.map(|task| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
        (value("Name:"), format!("{}{}", value("Seccomp:"), value("NoNewPrivs:")))
    });
    modes.collect()
}

#[tokio::test]
async fn every_thread_is_in_the_sandbox_unless_it_is_off() {
    let origin = Origin::h2c().await;
    for (sandbox, mode) in [("auto", "21"), ("required", "21"), ("off", "00")] {
        let security = format!("privileges: {{ enabled: false, allow_root: true }}\nsandbox: {sandbox}");
        if sandbox == "required" && !has_landlock().await {
            eprintln!("skipped: required, because this kernel has no Landlock");
            continue;
        }
        let proxy =
            Proxy::start(|settings| settings.workers(2).security(&security).upstream("all", "/", &[origin.url()]))
                .await;
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        let modes = modes(&proxy);
        assert!(modes.len() >= 6, "{modes:?}");
        assert!(modes.values().all(|found| found == mode), "{sandbox}: {modes:?}");
        assert_eq!(proxy.count("Sandbox: landlock="), usize::from(sandbox != "off"));
        assert_eq!(proxy.count(" seccomp=on"), usize::from(sandbox != "off"));
        proxy.stop().await;
    }
}

async fn has_landlock() -> bool {
    let proxy = Proxy::before(&["http://127.0.0.1:1".to_owned()]).await;
    proxy.count("Sandbox: landlock=on ") == 1
}

/// Starts Spooky under a filter for which the system call with this number does not exist.
const WITHOUT_CALL: &str = r#"
import ctypes, os, struct, sys
def operation(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
program = operation(LOAD, 0, 0, 0) + operation(EQUAL, 0, 1, int(sys.argv[1]))
program += operation(RETURN, 0, 0, 0x00050000 | 38) + operation(RETURN, 0, 0, 0x7FFF0000)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, program)), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// `landlock_create_ruleset`, which has this number on all machines.
const LANDLOCK: &str = "444";
/// `seccomp`.
const SECCOMP: &str = if cfg!(target_arch = "x86_64") { "317" } else { "277" };

#[tokio::test]
async fn what_is_required_and_missing_prevents_the_start() {
    let Some(python) = program::require_python() else { return };
    let origin = Origin::h2c().await;
    for (name, call, rest) in [("Landlock", LANDLOCK, " seccomp=on"), ("seccomp", SECCOMP, "Sandbox: landlock=")] {
        if name == "seccomp" && !has_landlock().await {
            eprintln!("skipped: seccomp alone, because this kernel has no Landlock");
            continue;
        }
        let run = |config: &Path| {
            let config = config.to_str().unwrap();
            Program::start(&python, &["-c", WITHOUT_CALL, call, SPOOKY, "--config", config])
        };
        let security = |sandbox| format!("privileges: {{ enabled: false, allow_root: true }}\nsandbox: {sandbox}");
        // What is there is used.
        let start = |settings: Settings| settings.security(&security("auto")).upstream("all", "/", &[origin.url()]);
        let proxy = Proxy::start_by(run, start, |text| text).await;
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        assert_eq!((proxy.count("Sandbox: landlock="), proxy.count(rest)), (1, 1), "{}", proxy.program.output());
        let required = proxy.settings.text().replace("sandbox: auto", "sandbox: required");
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("spooky.yaml");
        std::fs::write(&config, required.replace("level: info", "level: silence")).unwrap();
        let _files = proxy.stopped().await;
        let mut program = run(&config);
        assert_eq!(program.exit(wait::BOUND).await.code(), Some(1), "{}", program.output());
        program.rest().await;
        let text = format!("security.sandbox is required, but {name} is not available: ");
        assert_eq!(program.output().matches(&text).count(), 1, "{}", program.output());
    }
}
