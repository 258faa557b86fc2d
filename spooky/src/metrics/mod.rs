//! The page of metrics: what the workers have counted, and the state of the process at the moment of a scrape.
//!
//! The definitions are in `telemetry::metrics`; this module finds the values. It runs on threads of the control plane.

mod backends;
mod clients;
mod process;
mod requests;
mod runtime;

use crate::{snapshot::Snapshot, state::State};
use spooky_telemetry::metrics::{Names, Page, Syntax};

/// Returns the page of metrics of the configuration in effect. `legacy_names` of the configuration widens `names`.
pub(crate) fn render(state: &State, snapshot: &Snapshot, syntax: Syntax, names: Names) -> Vec<u8> {
    let names = match names {
        Names::Usual if snapshot.config.observability.metrics.legacy_names => Names::Legacy,
        names => names,
    };
    page(state, snapshot).render(syntax, names)
}

fn page(state: &State, snapshot: &Snapshot) -> Page {
    let mut page = Page::default();
    requests::add(&mut page, state, snapshot);
    backends::add(&mut page, state, snapshot);
    clients::add(&mut page, state);
    runtime::add(&mut page, state, snapshot);
    process::add(&mut page);
    page
}

#[cfg(test)]
mod tests;
