//! The `OpenAPI` document, tried out by a program that sends what it allows, and what it does not.

use std::process::Stdio;

use spooky_testkit::origin::Origin;
use spooky_testkit::{program, wait};
use tokio::process::Command;

use super::rig::Rig;

/// Answers with 5xx are allowed for none of the operations that are tried.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method";
const EXAMPLES: &str = "20";
const SEED: &str = "1307";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_gets_an_answer_that_the_document_does_not_have() {
    let Some(python) = program::require_python() else { return };
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    rig.ready(200).await;
    let (status, document) = rig.get("/openapi.json").await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command.args(["run", &format!("http://{}/openapi.json", rig.at), "--checks", CHECKS, "--seed", SEED]);
    // Without a watchdog, a restart is 503.
    command.args(["--exclude-path", "/admin/runtime/restart", "--max-examples", EXAMPLES, "--max-time", "40"]);
    command.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--no-shrink",
        "--continue-on-failure",
        "--warnings",
        "off",
    ]);
    command.current_dir(directory.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = wait::within_time(crate::proxy::LONG, "schemathesis", command.output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "seed {SEED}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(rig.get("/health").await.0, 200);
    rig.proxy.stop().await;
}
