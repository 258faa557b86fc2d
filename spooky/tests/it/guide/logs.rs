//! The commands of docs/operate/logs.md.

use std::fs;

use http::Request;
use serde_json::Value;
use spooky_testkit::{origin::Origin, port, program};

use super::{Page, written};
use crate::proxy::Proxy;

/// Returns the example of a line that begins with this text.
fn example(page: &str, begins: &str) -> String {
    page.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("no example: {begins}")).to_owned()
}

/// Runs the next command, and returns its answer.
async fn ask(page: &mut Page) -> String {
    let block = page.blocks.pop_front().unwrap();
    written(&page.execute(&block).await)
}

#[tokio::test]
async fn the_questions_to_the_access_log_are_answered_as_the_page_says() {
    if program::require("jq").is_none() {
        return;
    }
    let mut page = Page::read("operate/logs.md");
    let log = page.path("access.log");
    let (origin, dead) = (Origin::h2c().await, format!("http://{}", port::free()));
    let proxy = Proxy::start_edited(
        |settings| {
            settings.upstream("api", "/", &[origin.url()]).upstream("dead", "/dead", std::slice::from_ref(&dead))
        },
        |text| {
            let access = format!("{{ level: info, access: {{ file: \"{}\", format: json }} }}", log.display());
            text.replace("{ level: info }", &access)
        },
    )
    .await;
    let connection = proxy.connect().await;
    let known = Request::get("https://localhost/status/503").header("x-request-id", "known-1");
    assert_eq!(connection.send(known.body("".into()).unwrap()).await.unwrap().status, 503);
    for path in ["/", "/", "/dead"] {
        connection.get(path).await.unwrap();
    }
    proxy.stop().await;

    page.blocks.retain(|block| block.starts_with("jq "));
    let slowest = ask(&mut page).await;
    assert_eq!(slowest.lines().count(), 4, "{slowest}");
    assert!(slowest.contains(" ms GET /status/503\n"), "{slowest}");
    let failures = ask(&mut page).await;
    assert_eq!(failures.lines().count(), 1, "{failures}");
    assert!(failures.trim_start().starts_with("1 dead transport "), "{failures}");
    let backends = ask(&mut page).await;
    assert!(backends.contains(&format!("{dead} 1 100\n")), "{backends}");
    assert!(backends.contains(&format!("{} 3 33.3", origin.url())), "{backends}");
    let one: Value = serde_json::from_str(&ask(&mut page).await).unwrap();
    assert_eq!((&one["request_id"], &one["status"]), (&"known-1".into(), &503.into()));
    assert!(page.blocks.is_empty(), "every question of the page was asked");

    // The examples of the page have the fields of real lines, in their order.
    let text = program::file("docs/operate/logs.md");
    let shown = example(&text, "{\"ts\"").replace("\"error\":null}", "");
    let names =
        |line: &str| line.split(",\"").map(|part| part.split("\":").next().unwrap().to_owned()).collect::<Vec<_>>();
    let real = fs::read_to_string(&log).unwrap().lines().next().unwrap().replace("\"error\":null}", "");
    assert_eq!(names(&shown), names(&real));
}
