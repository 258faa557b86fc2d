//! Which failures are booked to a backend, how often, and which are not.

use super::*;

#[test]
fn resets_that_a_client_can_provoke_mark_nobody_and_are_not_repeated() {
    let mut bench = Bench::new(3);
    for _ in 0..100 {
        let (mut attempt, slot, _) = bench.begin("GET", false);
        let step = attempt.on_failure(&mut bench.cx(), slot, FailureKind::Reset(ErrorCode::Rejected), Sent::Replayable);
        assert_eq!(step, Step::Answer(Reason::UpstreamRejected));
        assert_eq!(attempt.progress().attempts, 1);
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
    assert_eq!(bench.news(), []);
    let latencies = bench.upstream.pool().members().iter().filter_map(|member| member.state.latency.value());
    assert!(latencies.into_iter().all(|latency| latency < Duration::from_secs(1)), "nor make it look slow");
}

#[test]
fn an_internal_error_counts_only_while_no_other_request_succeeds() {
    let mut bench = Bench::new(2);
    for n in 0..100 {
        let (mut good, good_slot, _) = bench.begin("GET", false);
        let (mut bad, bad_slot, _) = bench.begin("GET", false);
        good.on_head(&mut bench.cx(), good_slot, 200);
        good.on_complete(&mut bench.cx());
        // Both get good answers in turn: the one that follows is excused on either.
        if n > 1 {
            bad.on_failure(&mut bench.cx(), bad_slot, INTERNAL, Sent::Gone);
        } else {
            bad.abort();
            let (mut other, slot, _) = bench.begin("GET", false);
            other.on_head(&mut bench.cx(), slot, 200);
            other.on_complete(&mut bench.cx());
        }
        bench.wait(10);
    }
    assert_eq!(bench.news(), []);
    bench.wait(1000);
    for _ in 0..6 {
        let (mut attempt, slot, _) = bench.begin("POST", false);
        attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Gone);
    }
    assert_eq!(bench.upstream.pool().healthy(), 1);
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
    assert_eq!(bench.news(), []);
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
    assert_eq!(bench.news(), []);
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
    assert_eq!(bench.news(), [], "two requests with three failures each");
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
    assert_eq!(bench.news(), []);
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
    assert_eq!(bench.news(), []);
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
    use crate::admit::{Process, ProcessOptions, Queue, Scope, ScopeOptions};
    for by_client in [true, false] {
        let process = Process::new(1, &ProcessOptions::default());
        let scope = Scope::new(Arc::clone(&process), 1, &ScopeOptions::default());
        let mut bench = Bench::new(1);
        let options = bench.upstream.options().clone();
        let joined = pool(&[1, 1], PoolOptions::default()).with_scope(&scope);
        bench.upstream = Upstream::new(Arc::new(joined), options);
        let mut queue = Queue::new(Arc::clone(&process), 0);
        let mut admit = |bench: &Bench| match queue.admit(&scope, None, Nanos::NEVER, bench.now) {
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
        assert_eq!(process.adaptive_limit() < Some(4096), !by_client);
        drop((permits, permit));
    }
}
