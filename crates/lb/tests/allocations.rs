//! The way of a request through the decisions does not allocate: a counting allocator, in a program of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: a broken assumption fails it")]

#[path = "checks/worker.rs"]
mod worker;

use spooky_lb::balance::Algorithm;
use spooky_lb::route::{DeniedPrefixes, PathDepths, matching_form};
use worker::{Shared, Worker, table};

/// Calls of the allocator while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8]))), 1);
}

#[test]
fn a_lookup_allocates_nothing_whatever_the_number_of_routes() {
    let plain: &[u8] = b"/api/v4/service4/users?id=7";
    let rewritten: &[u8] = b"//api/%76%34/x/../service4/users?id=7";
    for routes in [10, 10_000] {
        let table = table(routes);
        let mut scratch = Vec::with_capacity(rewritten.len());
        for path in [plain, rewritten] {
            let mut look =
                || table.lookup(b"HOST4.example.com:443", path, b"GET", &mut scratch).map(|it| it.prefix_len);
            assert_eq!(look(), Some("/api/v4/service4".len()));
            assert_eq!(allocations(|| _ = look()), 0, "{routes} routes");
        }
    }
}

#[test]
fn readings_of_a_path_allocate_nothing_once_their_buffers_have_grown() {
    let path = b"/a/%2e%2e/%2Fb/../c%5cd?x";
    let denied = DeniedPrefixes::new(["/admin", "/internal/keys"]);
    let mut depths = PathDepths::default();
    let mut scratch = Vec::new();
    let mut read = || denied.denies(path, &mut depths) || matching_form(path, &mut scratch).is_empty();
    assert!(!read());
    assert_eq!(allocations(|| _ = read()), 0);
}

#[test]
fn a_request_from_route_to_recorded_result_allocates_nothing() {
    for algorithm in Algorithm::ALL {
        for backends in [1, 3, 16, 100] {
            let mut worker = Worker::new(&Shared::new(2, backends), 0, algorithm);
            worker.request(); // buffers grow once
            let during = allocations(|| (0..1000).for_each(|_| worker.request()));
            assert_eq!(during, 0, "{algorithm:?} with {backends} backends");
        }
    }
}
