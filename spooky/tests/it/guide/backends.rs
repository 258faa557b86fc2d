//! The commands of docs/guide/backends.md.

use spooky_testkit::{port, program};

use super::Page;

#[tokio::test]
async fn the_commands_about_backends_do_what_the_page_says() {
    for name in ["openssl", "curl", "python3"] {
        if program::require(name).is_none() {
            return;
        }
    }
    let mut page = Page::open("backends.md");
    page.install();
    let (application, proxy) = (port::free(), port::free());
    page.replace("8080", &application.port());
    page.replace("9889", &proxy.port());
    page.run("mkdir -p site").await;
    let _server = page.serve("python3 -m http.server", application).await;
    page.run("cat > backends.yaml").await;
    let mut spooky = page.spooky().await;
    assert_eq!(page.run("curl ").await, "hello from the backend\nvia: 1.1 spooky\r\n");
    assert_eq!(page.blocks, [""; 0], "every command was run");
    assert_eq!(spooky.stop().await.code(), Some(0), "{}", spooky.output());
}
