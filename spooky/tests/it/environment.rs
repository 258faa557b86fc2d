//! Environment variables: `RUST_LOG` and `SSLKEYLOGFILE`.

use std::path::Path;

use spooky_testkit::certs::Files;
use spooky_testkit::client::Client;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::wait;
use tokio::process::Command;

use crate::proxy::{NAME, SPOOKY, certificates};

/// Starts with a log level in the file, arguments, and one environment variable.
fn start(files: &Files, level: &'static str, arguments: &[&str], variable: (&str, &str)) -> (Program, Settings) {
    let backends = ["http://127.0.0.1:9".to_owned()];
    let settings = Settings::new(files).level(level).upstream("all", "/", &backends);
    let path = settings.write(files);
    let mut command = Command::new(SPOOKY);
    command.env_remove("RUST_LOG").env_remove("SSLKEYLOGFILE").env(variable.0, variable.1);
    command.arg("--config").arg(&path).args(arguments);
    (Program::spawn(command), settings)
}

#[tokio::test]
async fn rust_log_overrides_the_level_of_the_file() {
    let (_, files) = certificates();
    for (level, variable, line) in [
        ("silence", "spooky=info", "Spooky is starting"),
        ("poltergeist", "spooky_lb=whisper,spooky", "Spooky is starting"),
        ("info", "loud", "RUST_LOG 'loud' cannot be used; log.level stays in force"),
    ] {
        let (mut program, _settings) = start(&files, level, &[], ("RUST_LOG", variable));
        program.line(line).await;
        // Another test may have taken the port.
        program.stop().await;
    }
}

#[tokio::test]
async fn tls_secrets_are_written_only_when_asked_for() {
    let (authority, files) = certificates();
    let secrets = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    for (name, arguments, written) in [("no.log", &[][..], false), ("yes.log", &["--tls-keylog"], true)] {
        let log = files.dir().join(name);
        let (mut program, settings) = start(&files, "info", arguments, ("SSLKEYLOGFILE", log.to_str().unwrap()));
        let connection = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
        let told = program.output().contains("TLS secrets are appended to");
        assert_eq!(told, written, "{}", program.output());
        if written {
            let found = || async { secrets(&log).contains("CLIENT_TRAFFIC_SECRET_0 ").then_some(()) };
            wait::until(wait::BOUND, "the secrets of the connection", found).await;
        } else {
            // The handshake is complete, so secrets would have been written.
            assert_eq!(secrets(&log), "");
        }
        drop(connection);
        program.stop().await;
    }
}
