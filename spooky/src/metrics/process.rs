//! Samples about the process from `/proc/self`, under the names that all programs use.

use spooky_telemetry::metrics::{Family, Page};
use std::fs;

/// Adds what can be read.
pub(super) fn add(page: &mut Page) {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page_size = rustix::param::page_size() as u64;
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        page.add_float(Family::ProcessCpu, &[], stat.cpu_ticks as f64 / ticks);
        page.add(Family::ProcessThreads, &[], stat.threads);
        page.add(Family::ProcessVirtual, &[], stat.virtual_bytes);
        page.add(Family::ProcessResident, &[], stat.resident_pages * page_size);
        if let Some(boot) = boot_time() {
            page.add_float(Family::ProcessStart, &[], boot as f64 + stat.start_ticks as f64 / ticks);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the one that reads the directory.
        page.add(Family::ProcessOpenFds, &[], open.count().saturating_sub(1) as u64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.add(Family::ProcessMaxFds, &[], most);
    }
}

/// Returns when the machine was started, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The fields of `/proc/self/stat` (`proc_pid_stat(5)`) that are needed.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program is in parentheses and may contain any character.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // The first of them is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_follow_the_last_parenthesis() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 11 22 0 0 20 0 5 0 777 8192 42 18446744073709551615 1";
        let expected = Stat { cpu_ticks: 33, threads: 5, start_ticks: 777, virtual_bytes: 8192, resident_pages: 42 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (spooky) S 1"), None);
    }
}
