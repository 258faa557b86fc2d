//! Tests that every row of the table is complete, unique and consistent (docs/reference/behaviour.md#status-codes).

use super::*;
use std::collections::HashSet;

#[test]
fn every_reason_has_a_complete_row_and_its_own_label() {
    let mut labels = HashSet::new();
    for &reason in Reason::ALL {
        let row = reason.row();
        assert!((400..=599).contains(&row.status), "{reason:?}");
        assert!(!row.text.is_empty() && !row.proxy_error.is_empty() && !row.details.is_empty(), "{reason:?}");
        assert!(row.details.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\' || b == b' '));
        assert!(labels.insert(row.label), "{reason:?} shares its label");
    }
}

#[test]
fn only_faults_of_a_backend_count_against_it_or_are_retried() {
    for &reason in Reason::ALL {
        let row = reason.row();
        if row.counts_against_backend || row.retry != Retry::Never {
            assert_eq!(row.fault, Fault::Backend, "{reason:?}");
        }
    }
}

/// Refusals because of a limit.
fn sheds() -> impl Iterator<Item = Reason> {
    Reason::ALL.iter().copied().filter(|reason| reason.row().error == ErrorKind::Overload)
}

#[test]
fn nine_reasons_are_sheds() {
    let labels: Vec<_> = sheds().map(|reason| reason.row().label).collect();
    assert_eq!(
        labels,
        [
            "brownout",
            "adaptive_admission",
            "route_cap",
            "route_global_cap",
            "global_inflight",
            "upstream_inflight",
            "backend_inflight",
            "circuit_open",
            "request_buffer_cap"
        ]
    );
    for reason in sheds() {
        let row = reason.row();
        assert_eq!((row.status, row.details, row.retry_after), (503, row.label, true));
        let expected =
            if reason == Reason::CircuitOpen { "destination_unavailable" } else { "connection_limit_reached" };
        assert_eq!(row.proxy_error, expected);
    }
}

#[test]
fn timeout_status_changes_the_two_upstream_timeouts_only() {
    for &reason in Reason::ALL {
        let timeout = matches!(reason, Reason::ResponseTimeout | Reason::TotalTimeout);
        assert_eq!(reason.status_with(504), if timeout { 504 } else { reason.row().status }, "{reason:?}");
    }
}
