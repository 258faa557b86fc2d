//! Which failures count against a backend, and how often.

use super::*;

#[test]
fn resets_that_a_client_can_provoke_mark_nobody_and_are_not_repeated() {
    let mut bench = Bench::new(3);
    for _ in 0..100 {
        let (mut attempt, slot, _) = bench.begin("GET", false);
        let step = attempt.on_failure(&mut bench.cx(), slot, FailureKind::Reset(ErrorCode::Rejected), Sent::Replayable);
        assert_eq!(step, Step::Answer(Reason::UpstreamRejected));
        let (mut attempt, slot, _) = bench.begin("GET", false);
        attempt.on_head(&mut bench.cx(), slot, 200);
        attempt.on_broken(&mut bench.cx(), FailureKind::Reset(ErrorCode::Rejected));
        for kind in [
            FailureKind::Reset(ErrorCode::Other),
            FailureKind::RefusedStream,
            FailureKind::ConnectionRejected,
            FailureKind::HeadersTooLarge,
        ] {
            let (mut attempt, slot, _) = bench.begin("POST", false);
            attempt.on_failure(&mut bench.cx(), slot, kind, Sent::Gone);
        }
    }
    assert_eq!(bench.transitions(), []);
    let latencies = bench.upstream.pool().members().iter().filter_map(|member| member.state.latency.micros());
    assert!(latencies.into_iter().all(|latency| latency < 1_000_000), "nor make it look slow");
}

/// Sends a request whose first attempt is reset with `INTERNAL_ERROR`. If it is sent again, the next backend resets it too
/// (`None`) or answers with this status.
fn internal_error(bench: &mut Bench, method: &str, then: Option<u16>) {
    let (mut attempt, slot, _) = bench.begin(method, false);
    let mut step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
    while let Step::Start { slot, .. } = step {
        step = match then {
            Some(status) => attempt.on_head(&mut bench.cx(), slot, status),
            None => attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable),
        };
    }
    attempt.abort();
}

#[test]
fn a_request_that_every_backend_resets_marks_none() {
    let mut bench = Bench::new(3);
    for _ in 0..50 {
        internal_error(&mut bench, "GET", None);
        internal_error(&mut bench, "GET", Some(500));
        internal_error(&mut bench, "POST", None);
        let (mut attempt, slot, _) = bench.begin("GET", false);
        attempt.on_head(&mut bench.cx(), slot, 200);
        attempt.on_broken(&mut bench.cx(), INTERNAL);
        // An upload that the client has not finished: the backend may have waited for it in vain.
        let (mut attempt, slot, _) = bench.begin("PUT", true);
        let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
        let Step::Start { slot, .. } = step else { panic!("{step:?}") };
        attempt.on_upload_end(&bench.cx());
        attempt.on_head(&mut bench.cx(), slot, 200);
        attempt.abort();
        bench.wait(2000);
    }
    assert_eq!(bench.transitions(), []);
    assert_eq!(bench.in_flight(), 0);
    let latencies = bench.upstream.pool().members().iter().filter_map(|member| member.state.latency.micros());
    assert!(latencies.into_iter().all(|latency| latency < 1_000_000), "nor make it look slow");
}

#[test]
fn a_reset_counts_when_another_backend_answers_the_request_and_this_one_answers_nobody() {
    let mut bench = Bench::new(2);
    let serve = |bench: &mut Bench| {
        let (mut other, slot, _) = bench.begin("GET", false);
        other.on_head(&mut bench.cx(), slot, 200);
        other.on_complete(&mut bench.cx());
    };
    for _ in 0..50 {
        (0..3).for_each(|_| serve(&mut bench));
        internal_error(&mut bench, "GET", Some(204));
        bench.wait(400);
    }
    assert_eq!(bench.transitions(), [], "both answer others");
    bench.wait(1000);
    // The first is sick from now on.
    let mut requests = 0;
    while bench.upstream.pool().healthy() == 2 && requests < 10 {
        let (mut attempt, slot, backend) = bench.begin("GET", false);
        let step = match backend {
            0 => attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable),
            _ => attempt.on_head(&mut bench.cx(), slot, 200),
        };
        if let Step::Start { slot, .. } = step {
            attempt.on_head(&mut bench.cx(), slot, 200);
        }
        attempt.on_complete(&mut bench.cx());
        requests += 1;
    }
    assert!((3..=7).contains(&requests), "{requests} requests until it is out");
    assert_eq!(bench.in_flight(), 0);
}

/// Milliseconds at which the backend answers another request, and at which it resets this one.
#[test]
fn an_answer_to_others_shortly_before_or_at_any_time_after_the_request_was_sent_clears_a_backend() {
    for (answers, begins, resets) in [(0, 500, 600), (600, 500, 4000)] {
        let mut bench = Bench::new(2);
        for _ in 0..10 {
            let start = bench.now;
            bench.upstream.pool().members()[1].state.health.set_draining(true);
            let (mut other, other_slot, _) = bench.begin("GET", false);
            let mut answer = |bench: &mut Bench| {
                bench.now = start + Duration::from_millis(answers);
                other.on_head(&mut bench.cx(), other_slot, 200);
                other.on_complete(&mut bench.cx());
            };
            if answers < begins {
                answer(&mut bench);
            }
            bench.now = start + Duration::from_millis(begins);
            let (mut attempt, slot, backend) = bench.begin("GET", false);
            assert_eq!(backend, 0);
            attempt.on_sent(&mut bench.cx(), slot);
            if answers > begins {
                answer(&mut bench);
            }
            bench.now = start + Duration::from_millis(resets);
            bench.upstream.pool().members()[1].state.health.set_draining(false);
            let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
            let Step::Start { slot, .. } = step else { panic!("{step:?}") };
            attempt.on_head(&mut bench.cx(), slot, 200);
            attempt.on_complete(&mut bench.cx());
            bench.wait(2000);
        }
        assert_eq!(bench.transitions(), [], "answers after {answers} ms");
        let latency = bench.upstream.pool().members()[0].state.latency.micros().unwrap();
        assert!(latency < 1_000_000, "{latency:?}: blamed as slow; answers after {answers} ms");
    }
}

#[test]
fn a_connection_that_breaks_counts_once_however_many_requests_were_on_it() {
    let mut bench = Bench::new(1);
    bench.upstream = Upstream::new(
        Arc::new(pool(&[1, 1], PoolOptions::default())),
        UpstreamOptions { attempt: AttemptOptions { max_retries: 0, ..Default::default() }, ..Default::default() },
    );
    bench.upstream.pool().members()[1].state.health.set_draining(true);
    let on_one: Vec<_> = (0..50).map(|_| bench.begin("GET", false)).collect();
    bench.upstream.pool().members()[1].state.health.set_draining(false);
    for (mut attempt, slot, _) in on_one {
        attempt.on_failure(&mut bench.cx(), slot, FailureKind::ConnectionLost(7), Sent::Replayable);
    }
    assert_eq!(bench.transitions(), []);
    for connection in 8..12 {
        let (mut attempt, slot, _) = bench.begin("GET", false);
        attempt.on_failure(&mut bench.cx(), slot, FailureKind::ConnectionLost(connection), Sent::Replayable);
    }
    assert_eq!(bench.upstream.pool().healthy(), 1, "three connections of the first were lost");
}

#[test]
fn one_failed_connection_counts_once_for_all_that_waited_for_it() {
    let mut bench = Bench::new(2);
    let waiting: Vec<_> = (0..20).map(|_| bench.begin("GET", false)).collect();
    for (mut attempt, slot, _) in waiting {
        attempt.on_failure(&mut bench.cx(), slot, FailureKind::ConnectRefused, Sent::Gone);
    }
    assert_eq!(bench.transitions(), []);
}

#[test]
fn one_request_counts_once_against_a_backend() {
    let mut bench = Bench::new(2);
    bench.upstream.pool().members()[1].state.health.set_draining(true);
    for _ in 0..2 {
        let (mut attempt, mut slot, _) = bench.begin("GET", false);
        for connection in 0..2 {
            let lost = FailureKind::ConnectionLost(connection);
            assert_eq!(attempt.on_failure(&mut bench.cx(), slot, lost, Sent::Replayable), Step::Wait);
            bench.wait(50);
            let Step::Start { slot: next, .. } = attempt.on_timer(&mut bench.cx()) else { panic!("no retry") };
            slot = next;
        }
        attempt.on_head(&mut bench.cx(), slot, 200);
        attempt.on_broken(&mut bench.cx(), FailureKind::ConnectionLost(3));
    }
    bench.upstream.pool().members()[1].state.health.set_draining(false);
    assert_eq!(bench.transitions(), [], "two requests with three failures each");
}

#[test]
fn a_timeout_counts_only_while_the_backend_is_silent_to_everyone() {
    let mut bench = Bench::new(2);
    bench.upstream.pool().members()[1].state.health.set_draining(true);
    let time_out = |bench: &mut Bench, hears_others: bool| {
        let (mut attempt, slot, _) = bench.begin("POST", false);
        attempt.on_sent(&mut bench.cx(), slot);
        bench.wait(1000);
        if hears_others {
            let (mut other, slot, _) = bench.begin("GET", false);
            other.on_head(&mut bench.cx(), slot, 404);
            other.abort();
        }
        bench.wait(1000);
        assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Cancel { slot });
        assert_eq!(attempt.next(&mut bench.cx()), Step::Answer(Reason::ResponseTimeout));
    };
    (0..10).for_each(|_| time_out(&mut bench, true));
    bench.upstream.pool().members()[1].state.health.set_draining(false);
    assert_eq!(bench.transitions(), []);
    bench.upstream.pool().members()[1].state.health.set_draining(false);
    let mut ended = 0;
    while bench.upstream.pool().healthy() == 2 && ended < 10 {
        time_out(&mut bench, false);
        ended += 1;
    }
    assert!((3..=6).contains(&ended), "{ended} timeouts of a silent pool until one is out");
}

#[test]
fn silence_within_a_body_counts_only_while_nobody_else_is_answered() {
    let mut bench = Bench::new(2);
    let stall = |bench: &mut Bench, hears_others: bool| {
        let (mut attempt, slot, backend) = bench.begin("GET", false);
        attempt.on_head(&mut bench.cx(), slot, 200);
        let since = bench.now;
        bench.wait(1000);
        if hears_others {
            bench.upstream.pool().members()[backend].state.on_head(bench.now);
        }
        bench.wait(1000);
        attempt.on_silence(&mut bench.cx(), since);
    };
    (0..20).for_each(|_| stall(&mut bench, true));
    assert_eq!(bench.transitions(), []);
    (0..6).for_each(|_| stall(&mut bench, false));
    assert_eq!(bench.upstream.pool().healthy(), 1);
}

#[test]
fn a_request_that_times_out_is_never_sent_to_the_same_backend_again() {
    for backends in [1, 2, 3] {
        let mut bench = Bench::new(backends);
        let (mut attempt, mut slot, _) = bench.begin("GET", false);
        let mut attempts = 1;
        let answer = loop {
            attempt.on_sent(&mut bench.cx(), slot);
            bench.wait(2000);
            assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Cancel { slot });
            match attempt.next(&mut bench.cx()) {
                Step::Start { slot: next, .. } => slot = next,
                step => break step,
            }
            attempts += 1;
        };
        assert_eq!((answer, attempts), (Step::Answer(Reason::ResponseTimeout), backends));
    }
    // Nor after another failure has come between.
    let mut bench = Bench::new(2);
    let (mut attempt, slot, first) = bench.begin("GET", false);
    attempt.on_sent(&mut bench.cx(), slot);
    bench.wait(2000);
    attempt.on_timer(&mut bench.cx());
    let Step::Start { slot, backend } = attempt.next(&mut bench.cx()) else { panic!("no retry") };
    assert_ne!(backend, first);
    let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
    assert_eq!(step, Step::Answer(Reason::UpstreamReset));
}

#[test]
fn the_deadline_of_a_client_lowers_no_limit_and_that_of_the_operator_does() {
    use crate::admit::{GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions, RouteLimits};
    for by_client in [true, false] {
        let global = GlobalLimits::new(1, &GlobalLimitOptions::default());
        let limits = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions::default());
        let mut bench = Bench::new(1);
        let options = bench.upstream.options().clone();
        let joined = pool(&[1, 1], PoolOptions::default()).with_limits(&limits);
        bench.upstream = Upstream::new(Arc::new(joined), options);
        let mut queue = Queue::new(Arc::clone(&global), 0);
        let mut admit = |bench: &Bench| match queue.admit(&limits, None, Nanos::NEVER, bench.now) {
            crate::admit::Admission::Granted(permit) => permit,
            other => panic!("{other:?}"),
        };
        let permits: Vec<_> = (0..100).map(|_| admit(&bench)).collect();
        for _ in 0..20 {
            let (mut attempt, slot, _) = bench.begin("POST", false);
            attempt.on_sent(&mut bench.cx(), slot);
            if by_client {
                attempt.limit_total(bench.now);
            } else {
                bench.wait(2000);
            }
            assert!(matches!(attempt.on_timer(&mut bench.cx()), Step::Cancel { .. }));
            assert!(matches!(attempt.next(&mut bench.cx()), Step::Answer(_)));
            if !by_client {
                bench.now = Nanos::from_millis(1000);
            }
        }
        bench.wait(3000);
        let permit = admit(&bench);
        assert_eq!(global.limit().0 < 4096, !by_client);
        drop((permits, permit));
    }
}
