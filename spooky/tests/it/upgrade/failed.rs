//! Upgrades that fail: the old process serves on, and a later one succeeds.

use rustix::process::Signal;
use spooky_testkit::origin::Origin;

use super::Upgraded;
use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_with_an_error_changes_nothing_and_the_next_upgrade_succeeds() {
    let origin = Origin::h2c().await;
    let mut upgraded = Upgraded::new(Proxy::before(&[origin.url()]).await);
    let connection = upgraded.proxy.connect().await;
    let good = upgraded.proxy.settings.text();
    for (failures, bad) in
        [good.replace("version: 1", "version: 9"), good.replace("key.pem", "lost.pem")].iter().enumerate()
    {
        upgraded.proxy.rewrite(bad);
        upgraded.proxy.program.signal(Signal::USR2);
        let failed = "Upgrade failed, this process serves on: the new process has ended before it was ready";
        upgraded.proxy.logged(failed, failures + 1).await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        assert_eq!(upgraded.proxy.connect().await.get("/").await.unwrap().text(), "hello");
        assert_eq!(upgraded.proxy.http1().await.get("/").await.text(), "hello");
    }
    upgraded.proxy.rewrite(&good);
    upgraded.upgrade().await;
    assert_eq!(upgraded.proxy.connect().await.get("/").await.unwrap().text(), "hello");
    assert_eq!(upgraded.proxy.http1().await.get("/").await.text(), "hello");
    drop(connection);
    upgraded.stop().await;
}
