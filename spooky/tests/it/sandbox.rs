//! `security.sandbox`. All other tests run with `auto`, so what the sandbox must not break is tested there.

use std::collections::BTreeMap;

use spooky_testkit::origin::Origin;

use crate::proxy::Proxy;

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
