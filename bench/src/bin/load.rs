//! The program of the load generator. Exits with 1 if more requests failed than allowed.
//!
//! `cargo run --release -p spooky-bench --bin load -- --insecure https://127.0.0.1:9889/`
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use spooky_bench::load::{Arguments, Plan, run};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(failed) if failed <= arguments.max_failed => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the report and returns the number of requests that failed.
fn measure(arguments: &Arguments) -> Result<u64, Box<dyn std::error::Error>> {
    let plan = Plan::try_from(arguments)?;
    let threads = usize::from(arguments.threads);
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let report = runtime.block_on(async { tokio::spawn(async move { run(&plan).await }).await })??;
    println!("{report}");
    Ok(report.failed())
}
