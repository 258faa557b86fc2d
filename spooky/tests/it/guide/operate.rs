//! Runs the examples of the pages about operation against a running process: commands, configurations, expressions.
//!
//! A block that cannot run stands below a line `<!-- not run: <reason> -->`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};
use spooky_testkit::origin::Origin;
use spooky_testkit::{port, program, wait};

use super::{Page, written};
use crate::proxy::Proxy;

const NOT_RUN: &str = "<!-- not run: ";
/// Commands of the runbooks, which stand within sentences.
const RUNBOOK_COMMANDS: [&str; 2] = ["metrics spooky_", "admin http"];

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
    line: usize,
    is_run: bool,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut before) = (Vec::new(), None::<Block>, "");
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, is_run) = (language.to_owned(), !before.starts_with(NOT_RUN));
                open = Some(Block { language, text: String::new(), line: number + 1, is_run });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
        before = line;
    }
    assert!(open.is_none(), "a block without an end: {open:?}");
    blocks
}

/// Returns the code within the lines of a page, without its blocks.
fn spans(page: &str) -> Vec<&str> {
    let mut is_block = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_block ^= is_fence;
        !is_block && !is_fence
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// A page, and the process that its commands talk to.
struct Examples {
    page: Page,
    text: String,
    proxy: Proxy,
    _origin: Origin,
}

impl Examples {
    async fn start(name: &str) -> Option<Self> {
        let curl = program::require("curl")?;
        program::require("jq")?;
        program::require("promtool")?;
        let path = format!("operate/{name}.md");
        let mut page = Page::read(&path);
        let (metrics, api, log) = (port::free(), port::free(), page.path("access.log"));
        let origin = Origin::h2c().await;
        let block = format!(
            "observability:\n  metrics: {{ enabled: true, required: true, port: {} }}\n\
             \x20 control_api: {{ enabled: true, required: true, port: {} }}",
            metrics.port(),
            api.port()
        );
        let access = format!("{{ level: info, access: {{ file: \"{}\", format: json }} }}", log.display());
        let proxy = Proxy::start_edited(
            |settings| settings.upstream("api", "/status", &[origin.url()]).block(&block),
            |text| text.replace("{ level: info }", &access).replace("id: b1", "id: backend1"),
        )
        .await;
        page.replace("127.0.0.1:9901", &metrics);
        page.replace("127.0.0.1:9902", &api);
        page.replace("/etc/spooky/config.yaml", &proxy.dir().join("spooky.yaml").display());
        for directory in ["/etc/spooky", "/var/log/spooky"] {
            page.replace(directory, &page.path("").display());
        }
        page.install();
        // An answer that is an error fails the example, and signals go to this process alone.
        let scripts = [
            ("curl", format!("exec '{}' --fail -sS \"$@\"", curl.display())),
            ("pkill", format!("exec kill \"$1\" {}", proxy.pid())),
        ];
        for (name, script) in scripts {
            let path = page.path("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(page.path("token"), "secret").unwrap();
        symlink(&log, page.path("spooky.log")).unwrap();
        symlink(program::workspace().join("deploy"), page.path("deploy")).unwrap();
        symlink(page.path("deploy/prometheus/alerts.yml"), page.path("alerts.yml")).unwrap();
        let text = program::file(&format!("docs/{path}"));
        let examples = Self { page, text, proxy, _origin: origin };
        examples.send_requests().await;
        // What a reload puts into effect.
        let file = examples.proxy.dir().join("spooky.yaml");
        let changed = fs::read_to_string(&file)
            .unwrap()
            .replace("worker_threads: 1\n", "worker_threads: 1\n  backend_timeout_ms: 7s\n");
        fs::write(file, changed).unwrap();
        Some(examples)
    }

    /// Sends a request to a backend and one without a route, and waits until both are in the log and the process is ready.
    async fn send_requests(&self) {
        let connection = self.proxy.connect().await;
        for (path, status) in [("/status/200", 200), ("/", 404)] {
            assert_eq!(connection.get(path).await.unwrap().status, status);
        }
        let check = "curl -f http://127.0.0.1:9902/ready && test $(wc -l < access.log) = 2";
        wait::until(wait::BOUND, "the process to be ready", || async {
            self.page.execute(check).await.status.success().then_some(())
        })
        .await;
    }

    /// Runs commands, and returns what they wrote to standard output.
    async fn commands(&self, text: &str) -> String {
        written(&self.page.execute(text).await)
    }

    /// Checks a part of a configuration in that of the process, or a configuration of Prometheus.
    async fn configuration(&self, text: &str) {
        let text = self.page.filled(text);
        if text.starts_with("# prometheus.yml") {
            fs::write(self.page.path("prometheus.yml"), text).unwrap();
            self.commands("promtool check config prometheus.yml").await;
            return;
        }
        let key = text.split(':').next().unwrap().to_owned();
        let mut is_replaced = false;
        let whole = self.proxy.settings.text();
        let kept = whole.lines().filter(|line| {
            if !line.starts_with(' ') {
                is_replaced = line.split(':').next() == Some(&key);
            }
            !is_replaced
        });
        let kept: Vec<_> = kept.collect();
        fs::write(self.page.path("part.yaml"), kept.join("\n") + "\n" + &text).unwrap();
        self.commands("spooky check --config part.yaml").await;
    }

    /// Checks the syntax of expressions, and that the process has the metrics that they name.
    async fn expressions(&self, expressions: &[&str]) {
        let rules: Vec<_> = expressions.iter().map(|text| json!({ "record": "an:example", "expr": text })).collect();
        let rules = json!({ "groups": [{ "name": "examples", "rules": rules }] });
        fs::write(self.page.path("examples.yml"), rules.to_string()).unwrap();
        self.commands("promtool check rules examples.yml").await;
        let metrics = self.commands("curl http://127.0.0.1:9901/metrics").await;
        let words = expressions.iter().flat_map(|text| text.split(|part: char| !part.is_alphanumeric() && part != '_'));
        for name in words.filter(|word| word.starts_with("spooky_")) {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(metrics.contains(&format!("\n# TYPE {family} ")), "{name} is no metric");
        }
    }

    async fn block(&self, block: &Block) {
        match block.language.as_str() {
            "sh" => drop(self.commands(&block.text).await),
            "yaml" | "yml" => self.configuration(&block.text).await,
            "promql" => self.expressions(&block.text.lines().collect::<Vec<_>>()).await,
            "json" => block.text.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap())),
            _ => {}
        }
    }

    /// Runs everything, in the order of the page.
    async fn run(&self) {
        let blocks = blocks(&self.text);
        for block in blocks.iter().filter(|block| block.is_run) {
            eprintln!("line {}: {}", block.line, block.text); // shown if it fails
            self.block(block).await;
        }
        let spans = spans(&self.text);
        let is_expression = |span: &&str| span.contains("spooky_") && span.contains('(') && span.ends_with(')');
        let expressions: Vec<_> = spans.iter().copied().filter(is_expression).collect();
        self.expressions(&expressions).await;
        let functions = blocks.iter().find(|block| block.text.starts_with("metrics()"));
        for span in spans.iter().filter(|span| RUNBOOK_COMMANDS.iter().any(|begin| span.starts_with(begin))) {
            let functions = functions.expect("the functions that the commands of the page call");
            let shown = self.commands(&format!("TOKEN=\n{}{span}", functions.text)).await;
            assert!(!shown.is_empty(), "{span}");
        }
    }
}

async fn run(name: &str) {
    if let Some(examples) = Box::pin(Examples::start(name)).await {
        Box::pin(examples.run()).await;
        examples.proxy.stop().await;
    }
}

#[tokio::test]
async fn the_control_api_answers_as_its_page_says() {
    run("api").await;
}

#[tokio::test]
async fn the_examples_with_metrics_work() {
    run("metrics").await;
}

#[tokio::test]
async fn the_commands_of_the_runbooks_work() {
    run("runbooks").await;
}

#[tokio::test]
async fn the_examples_with_the_log_work() {
    run("logs").await;
}

#[tokio::test]
async fn the_examples_with_traces_work() {
    run("tracing").await;
}

#[tokio::test]
async fn the_commands_that_reload_work() {
    let Some(examples) = Box::pin(Examples::start("reload-upgrade")).await else { return };
    Box::pin(examples.run()).await;
    examples.proxy.logged("Configuration reloaded (generation=2)", 1).await;
    examples.proxy.stop().await;
}

#[test]
fn blocks_are_found_with_their_language_and_whether_they_run() {
    let page =
        "A `span`.\n\n<!-- not run: needs it -->\n```sh\nfirst `one`\n```\n\n```yaml\na: 1\nb: 2\n```\nAn `other`.\n";
    let found: Vec<_> = blocks(page).into_iter().map(|block| (block.language, block.text, block.is_run)).collect();
    let expected = [("sh", "first `one`\n", false), ("yaml", "a: 1\nb: 2\n", true)];
    assert_eq!(found, expected.map(|(language, text, is_run)| (language.to_owned(), text.to_owned(), is_run)));
    assert_eq!(spans(page), ["span", "other"]);
}
