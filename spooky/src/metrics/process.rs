//! Samples about the process from `/proc/self`, under the names that all programs use.

use crate::proc_stat::{Stat, ticks_per_second};
use spooky_telemetry::metrics::{Family, Page};
use std::fs;

/// Adds what can be read.
pub(super) fn add(page: &mut Page) {
    let ticks = ticks_per_second();
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
