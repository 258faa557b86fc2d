//! Which step follows each event, and which leases and results remain.

use std::sync::Arc;

use super::*;
use crate::health::Transition;
use crate::outcome::Reason;
use crate::pool::PoolOptions;
use crate::pool::tests::pool;
use crate::rng::Rng;
use crate::time::Nanos;
use crate::upstream::{Change, Upstream, UpstreamOptions};

mod blame;
mod hedge;

use hedge::hedging;

/// A failure of the backend that may be followed by a retry of an idempotent request.
const INTERNAL: FailureKind = FailureKind::Reset(ErrorCode::Internal);

struct Bench {
    upstream: Upstream,
    rng: Rng,
    now: Nanos,
}

impl Bench {
    fn new(backends: usize) -> Self {
        let pool = pool(&vec![1; backends], PoolOptions::default());
        let attempt = AttemptOptions {
            max_retries: 2,
            response_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(35),
        };
        let upstream = Upstream::new(Arc::new(pool), UpstreamOptions { attempt, ..Default::default() });
        Self { upstream, rng: Rng::seeded(1), now: Nanos::from_millis(1000) }
    }

    fn cx(&mut self) -> Cx<'_> {
        Cx { now: self.now, upstream: &mut self.upstream, rng: &mut self.rng }
    }

    fn begin(&mut self, method: &str, has_body: bool) -> (Attempts, SlotId, usize) {
        let request = Request { method: method.as_bytes(), has_body, key: 0 };
        let mut attempt = Attempts::new(&request, &self.upstream, self.now);
        let Step::Start { slot, backend } = attempt.on_start(&mut self.cx()) else { panic!("no start") };
        (attempt, slot, backend)
    }

    /// What changed about the backends since the last call.
    fn transitions(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.upstream.take_transition()).map(|transitions| transitions.change).collect()
    }

    fn in_flight(&self) -> u32 {
        self.upstream.pool().members().iter().map(|member| member.state.in_flight()).sum()
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }
}

#[test]
fn a_good_answer_holds_its_place_to_the_end() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, backend) = bench.begin("GET", false);
    attempt.on_sent(&mut bench.cx(), slot);
    bench.wait(5);
    assert_eq!(attempt.on_head(&mut bench.cx(), slot, 200), Step::Done);
    assert_eq!(bench.in_flight(), 1);
    assert_eq!(bench.upstream.pool().members()[backend].state.latency.micros(), Some(5_000));
    attempt.on_complete(&mut bench.cx());
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn an_attempt_tells_its_backend_while_it_runs() {
    let mut bench = Bench::new(2);
    let [(mut one, slot, first), (other, _, second)] = [(); 2].map(|()| bench.begin("GET", false));
    assert_ne!(first, second);
    assert_eq!((one.backend(slot), other.backend(slot)), (Some(first), Some(second)));
    assert_eq!(one.backend(SlotId::ALL[1]), None);
    one.on_complete(&mut bench.cx());
    assert_eq!(one.backend(slot), None);
}

/// A client chooses what it asks for and how large its own head is.
#[test]
fn limits_on_heads_are_no_failures_of_backends() {
    for kind in [FailureKind::HeadersTooLarge, FailureKind::Local(Reason::HeadersTooLarge)] {
        assert_eq!((kind.blame(), kind.reason().row().counts_against_backend), (None, false), "{kind:?}");
    }
}

#[test]
fn connect_failures_are_retried_for_any_method_and_others_for_idempotent_ones() {
    use FailureKind::*;
    let any = [Dns, ConnectRefused, ConnectTimeout, Unreachable, Tls, Certificate, RefusedStream];
    let idempotent = [INTERNAL, Reset(ErrorCode::Other), ConnectionLost(1), ConnectionRejected, ResponseTimeout];
    let never = [Reset(ErrorCode::Rejected), Malformed, HeadersTooLarge, Local(Reason::Internal)];
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT"] {
        let safe = !matches!(method, "POST" | "PATCH" | "CONNECT");
        for (kinds, retried) in [(&any[..], true), (&idempotent[..], safe), (&never[..], false)] {
            for &kind in kinds {
                let mut bench = Bench::new(3);
                let (mut attempt, slot, first) = bench.begin(method, false);
                match attempt.on_failure(&mut bench.cx(), slot, kind, Sent::Replayable) {
                    Step::Start { backend, .. } => assert!(retried && backend != first, "{method} {kind:?}"),
                    Step::Answer(reason) => assert!(!retried && reason == kind.reason(), "{method} {kind:?}"),
                    step => panic!("{step:?}"),
                }
            }
        }
    }
}

#[test]
fn a_body_that_is_gone_forbids_every_further_attempt() {
    for kind in [FailureKind::ConnectRefused, INTERNAL, FailureKind::RefusedStream, FailureKind::Unprocessed] {
        let mut bench = Bench::new(3);
        let (mut attempt, slot, _) = bench.begin("PUT", true);
        let step = attempt.on_failure(&mut bench.cx(), slot, kind, Sent::Gone);
        assert!(matches!(step, Step::Answer(_)), "{kind:?}: {step:?}");
        assert_eq!(bench.in_flight(), 0);
    }
}

#[test]
fn a_deadline_does_not_send_a_body_again_that_is_gone() {
    let mut bench = Bench::new(3);
    let (mut attempt, slot, _) = bench.begin("PUT", true);
    attempt.on_sent(&mut bench.cx(), slot);
    attempt.on_body_gone();
    bench.wait(2000);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Cancel { slot });
    assert_eq!(attempt.next(&mut bench.cx()), Step::Answer(Reason::ResponseTimeout));
    let (mut attempt, slot, _) = bench.begin("PUT", true);
    attempt.on_body_gone();
    let step = attempt.on_failure(&mut bench.cx(), slot, FailureKind::Unprocessed, Sent::Replayable);
    assert!(matches!(step, Step::Answer(_)), "{step:?}");
}

#[test]
fn the_total_deadline_runs_from_the_end_of_the_upload_unless_limited() {
    let mut bench = Bench::new(1);
    let (mut attempt, ..) = bench.begin("PUT", true);
    assert_eq!(attempt.timer(&bench.upstream), Nanos::NEVER);
    bench.wait(60_000);
    attempt.on_upload_end(&bench.cx());
    assert_eq!(attempt.timer(&bench.upstream), bench.now + Duration::from_secs(35));
    let (mut attempt, ..) = bench.begin("PUT", true);
    let limit = bench.now + Duration::from_secs(5);
    attempt.limit_total(limit);
    attempt.on_upload_end(&bench.cx());
    assert_eq!(attempt.timer(&bench.upstream), limit);
}

#[test]
fn an_unprocessed_request_moves_on_five_times_without_a_trace() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, first) = bench.begin("POST", false);
    for _ in 0..5 {
        let step = attempt.on_failure(&mut bench.cx(), slot, FailureKind::Unprocessed, Sent::Replayable);
        assert_eq!(step, Step::Resend { slot, backend: first });
    }
    let step = attempt.on_failure(&mut bench.cx(), slot, FailureKind::Unprocessed, Sent::Replayable);
    assert!(matches!(step, Step::Start { backend, .. } if backend != first));
}

#[test]
fn retries_end_with_the_last_failure() {
    let mut bench = Bench::new(5);
    let (mut attempt, mut slot, _) = bench.begin("GET", false);
    for _ in 0..2 {
        match attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable) {
            Step::Start { slot: next, .. } => slot = next,
            step => panic!("{step:?}"),
        }
    }
    let step = attempt.on_failure(&mut bench.cx(), slot, FailureKind::ConnectRefused, Sent::Replayable);
    assert_eq!(step, Step::Answer(Reason::UpstreamRefused));
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn the_only_backend_is_tried_again_after_a_rest_that_doubles() {
    let mut bench = Bench::new(1);
    let (mut attempt, slot, _) = bench.begin("GET", false);
    assert_eq!(attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable), Step::Wait);
    assert_eq!(attempt.timer(&bench.upstream), bench.now + Duration::from_millis(25));
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Wait);
    bench.wait(25);
    let Step::Start { slot, backend: 0 } = attempt.on_timer(&mut bench.cx()) else { panic!() };
    assert_eq!(attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable), Step::Wait);
    assert_eq!(attempt.timer(&bench.upstream), bench.now + Duration::from_millis(50));
}

#[test]
fn two_backends_take_turns_without_a_rest() {
    let mut bench = Bench::new(2);
    let (mut attempt, mut slot, first) = bench.begin("GET", false);
    let mut tried = vec![first];
    for _ in 0..2 {
        let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
        let Step::Start { slot: next, backend } = step else { panic!("{step:?}") };
        slot = next;
        tried.push(backend);
    }
    assert_eq!(tried, [first, 1 - first, first]);
}

#[test]
fn a_late_response_is_cancelled_booked_and_retried() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, first) = bench.begin("GET", false);
    attempt.on_sent(&mut bench.cx(), slot);
    assert_eq!(attempt.timer(&bench.upstream), bench.now + Duration::from_secs(2));
    bench.wait(2000);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Cancel { slot });
    assert!(matches!(attempt.next(&mut bench.cx()), Step::Start { backend, .. } if backend != first));
    assert_eq!(bench.in_flight(), 1);
}

#[test]
fn body_bytes_that_the_backend_takes_give_it_more_time() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, _) = bench.begin("PUT", true);
    attempt.on_sent(&mut bench.cx(), slot);
    bench.wait(1500);
    attempt.on_upload(slot, UploadWait::Backend, true, bench.now);
    bench.wait(1500);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Wait);
    // A look in vain for more gives it nothing.
    attempt.on_upload(slot, UploadWait::Backend, false, bench.now);
    attempt.on_upload_end(&bench.cx());
    bench.wait(500);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Cancel { slot });
}

#[test]
fn a_backend_is_not_blamed_for_an_upload_that_others_hold_up() {
    for wait in [UploadWait::Client, UploadWait::Proxy] {
        let mut bench = Bench::new(1);
        let (mut attempt, slot, backend) = bench.begin("POST", true);
        attempt.on_sent(&mut bench.cx(), slot);
        attempt.on_upload(slot, wait, true, bench.now);
        bench.wait(60_000);
        assert_eq!(attempt.timer(&bench.upstream), Nanos::NEVER, "{wait:?}");
        assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Wait, "{wait:?}");
        // Its time begins when it is its turn, whether or not it takes something at once.
        attempt.on_upload(slot, UploadWait::Backend, false, bench.now);
        assert_eq!(attempt.timer(&bench.upstream), bench.now + Duration::from_secs(2), "{wait:?}");
        // An answer before that is no measure of its speed.
        attempt.on_upload(slot, wait, false, bench.now);
        bench.wait(60_000);
        attempt.on_head(&mut bench.cx(), slot, 200);
        assert_eq!(bench.upstream.pool().members()[backend].state.latency.micros(), None, "{wait:?}");
    }
}

#[test]
fn the_total_deadline_ends_waits_and_attempts_but_no_response() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, _) = bench.begin("GET", false);
    attempt.limit_total(bench.now + Duration::from_millis(100));
    bench.wait(100);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Cancel { slot });
    assert_eq!(attempt.next(&mut bench.cx()), Step::Answer(Reason::TotalTimeout));
    let (mut attempt, slot, _) = bench.begin("GET", false);
    attempt.on_head(&mut bench.cx(), slot, 200);
    bench.wait(100_000);
    assert_eq!(attempt.timer(&bench.upstream), Nanos::NEVER);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Wait);
}

#[test]
fn aborts_leave_no_trace_and_failures_after_the_head_count() {
    let mut bench = Bench::new(2);
    for _ in 0..10 {
        let (mut attempt, slot, _) = bench.begin("GET", false);
        attempt.on_head(&mut bench.cx(), slot, 200);
        attempt.abort();
        let (attempt, ..) = bench.begin("GET", false);
        drop(attempt);
    }
    assert_eq!(bench.upstream.pool().healthy(), 2);
    for n in 0..6 {
        let (mut attempt, slot, _) = bench.begin("GET", false);
        attempt.on_head(&mut bench.cx(), slot, 200);
        attempt.on_broken(&mut bench.cx(), FailureKind::ConnectionLost(n));
    }
    assert_eq!(bench.upstream.pool().healthy(), 1);
    assert!(bench.transitions().contains(&Change::Health(Transition { healthy: false, reason: "reset" })));
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn pools_without_a_usable_backend_say_why() {
    let request = Request { method: b"GET", has_body: false, key: 0 };
    let mut bench = Bench::new(0);
    let mut attempt = Attempts::new(&request, &bench.upstream, bench.now);
    assert_eq!(attempt.on_start(&mut bench.cx()), Step::Answer(Reason::NoBackend));

    let mut bench = Bench::new(1);
    bench.upstream.pool().members()[0].state.health.set_draining(true);
    let mut attempt = Attempts::new(&request, &bench.upstream, bench.now);
    assert_eq!(attempt.on_start(&mut bench.cx()), Step::Answer(Reason::NoHealthyBackend));

    let mut bench = Bench::new(1);
    let held: Vec<_> = (0..256).map(|_| bench.begin("GET", false)).collect();
    let mut attempt = Attempts::new(&request, &bench.upstream, bench.now);
    assert_eq!(attempt.on_start(&mut bench.cx()), Step::Full);
    drop(held);
    assert!(matches!(attempt.on_start(&mut bench.cx()), Step::Start { .. }));
}

#[test]
fn a_backend_that_cannot_be_connected_to_is_passed_over_for_a_while() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, dead) = bench.begin("GET", false);
    attempt.on_failure(&mut bench.cx(), slot, FailureKind::ConnectTimeout, Sent::Replayable);
    for _ in 0..10 {
        assert_ne!(bench.begin("GET", false).2, dead);
    }
    bench.wait(300);
    assert!((0..2).any(|_| bench.begin("GET", false).2 == dead));
}

#[test]
fn nobody_overtakes_those_who_wait_for_a_backend() {
    use crate::admit::{Admission, GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions, RouteLimits, Wake};
    let global = GlobalLimits::new(1, &GlobalLimitOptions::default());
    let limits = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions::default());
    let options = PoolOptions { inflight_limit: 1, ..Default::default() };
    let mut bench = Bench::new(1);
    bench.upstream = Upstream::new(Arc::new(pool(&[1], options).with_limits(&limits)), UpstreamOptions::default());
    let mut queue = Queue::new(global, 0);
    let mut permit = || match queue.admit(&limits, None, Nanos::NEVER, Nanos::from_millis(1000)) {
        Admission::Granted(permit) => permit,
        other => panic!("{other:?}"),
    };
    let permits = [permit(), permit(), permit()];
    let request = Request { method: b"GET", has_body: false, key: 0 };
    let mut attempts: Vec<_> = permits.iter().map(|_| Attempts::new(&request, &bench.upstream, bench.now)).collect();
    assert!(matches!(attempts[0].on_start(&mut bench.cx()), Step::Start { .. }));
    assert_eq!(attempts[1].on_start(&mut bench.cx()), Step::Full);
    let ticket = queue.wait_backend(&permits[1], false, None, Nanos::NEVER, bench.now).unwrap();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(_))));
    attempts[0].abort();
    assert_eq!(attempts[2].on_start(&mut bench.cx()), Step::Full, "the lease belongs to the one that waits");
    queue.wait_backend(&permits[2], false, None, Nanos::NEVER, bench.now).unwrap();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(first)) if first == ticket));
    assert!(matches!(attempts[1].on_start(&mut bench.cx()), Step::Start { .. }));
    queue.leave(ticket);
}

#[test]
fn a_failed_attempt_counts_as_slow_as_a_deadline() {
    let mut bench = Bench::new(2);
    let (mut attempt, slot, backend) = bench.begin("GET", false);
    attempt.on_sent(&mut bench.cx(), slot);
    bench.wait(10);
    attempt.on_failure(&mut bench.cx(), slot, FailureKind::ConnectionLost(1), Sent::Replayable);
    let latency = bench.upstream.pool().members()[backend].state.latency.micros();
    let timeout = bench.upstream.options().attempt.response_timeout;
    assert_eq!(latency.map(|micros| Duration::from_micros(micros.into())), Some(timeout));
}

#[test]
fn in_brownout_nothing_is_hedged() {
    use crate::admit::{Admission, GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions, RouteLimits};
    let global = GlobalLimits::new(1, &GlobalLimitOptions { inflight_limit: 10, adaptive: None, ..Default::default() });
    let limits = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions { core: true, ..Default::default() });
    let mut queue = Queue::new(Arc::clone(&global), 0);
    for (others, is_hedged) in [(1, true), (10, false)] {
        let mut bench = hedging(2);
        let options = bench.upstream.options().clone();
        let joined = pool(&[1, 1], PoolOptions::default()).with_limits(&limits);
        bench.upstream = Upstream::new(Arc::new(joined), options);
        let mut admit = |_| match queue.admit(&limits, None, Nanos::NEVER, bench.now) {
            Admission::Granted(permit) => permit,
            other => panic!("{other:?}"),
        };
        let permits: Vec<_> = (0..others).map(&mut admit).collect();
        let (mut attempt, first, _) = bench.begin("GET", false);
        attempt.on_sent(&mut bench.cx(), first);
        bench.wait(100);
        assert_eq!(matches!(attempt.on_timer(&mut bench.cx()), Step::Hedge { .. }), is_hedged, "{others} in flight");
        assert_eq!(global.in_brownout(), !is_hedged);
        drop(permits);
    }
}

#[test]
fn a_client_that_holds_its_share_of_a_backend_waits_without_holding_up_others() {
    use crate::admit::{
        Admission, ClientShare, GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions, RouteLimits, Wake,
    };
    let global = GlobalLimits::new(1, &GlobalLimitOptions::default());
    let limits = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions::default());
    let options = PoolOptions { inflight_limit: 3, client_limit: 1, ..Default::default() };
    let mut bench = Bench::new(1);
    bench.upstream = Upstream::new(Arc::new(pool(&[1], options).with_limits(&limits)), UpstreamOptions::default());
    let mut queue = Queue::new(global, 0);
    let (hog, other, third) = (queue.new_client(), queue.new_client(), queue.new_client());
    let mut admitted = |client: &ClientShare, bench: &Bench| {
        let Admission::Granted(permit) = queue.admit(&limits, Some(client), Nanos::NEVER, bench.now) else {
            panic!("no permit")
        };
        let request = Request { method: b"GET", has_body: false, key: 0 };
        (permit, Attempts::new(&request, &bench.upstream, bench.now).for_client(client.clone()))
    };
    let (_first_permit, mut first) = admitted(&hog, &bench);
    let (second_permit, mut second) = admitted(&hog, &bench);
    let (fourth_permit, mut fourth) = admitted(&hog, &bench);
    let (_other_permit, mut passing) = admitted(&other, &bench);
    let (_third_permit, mut last) = admitted(&third, &bench);
    assert!(matches!(first.on_start(&mut bench.cx()), Step::Start { .. }));
    assert_eq!(second.on_start(&mut bench.cx()), Step::ClientFull);
    let ticket = queue.wait_backend(&second_permit, true, None, Nanos::NEVER, bench.now).unwrap();
    assert_eq!(fourth.on_start(&mut bench.cx()), Step::ClientFull);
    let later = queue.wait_backend(&fourth_permit, true, None, Nanos::NEVER, bench.now).unwrap();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(first)) if first == ticket), "once more when shown");
    assert_eq!(second.on_start(&mut bench.cx()), Step::ClientFull);
    queue.keep_waiting(ticket, true);
    assert!(queue.poll(bench.now).is_none());
    assert!(matches!(passing.on_start(&mut bench.cx()), Step::Start { .. }), "others pass");
    assert!(matches!(last.on_start(&mut bench.cx()), Step::Start { .. }));
    // A lease of another client does not help, but one request of each client tries.
    passing.abort();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(first)) if first == ticket));
    assert_eq!(second.on_start(&mut bench.cx()), Step::ClientFull);
    queue.keep_waiting(ticket, true);
    assert!(queue.poll(bench.now).is_none());
    // One of its own does.
    first.abort();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(first)) if first == ticket));
    assert!(matches!(second.on_start(&mut bench.cx()), Step::Start { .. }));
    queue.leave(ticket);
    while let Some(wake) = queue.poll(bench.now) {
        assert!(matches!(wake, Wake::TryBackend(next) if next == later));
        assert_eq!(fourth.on_start(&mut bench.cx()), Step::ClientFull);
        queue.keep_waiting(later, true);
    }
    second.abort();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(next)) if next == later));
}

#[test]
fn a_waiter_that_comes_to_its_turn_over_its_share_lets_the_next_one_go() {
    use crate::admit::{Admission, GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions, RouteLimits, Wake};
    let global = GlobalLimits::new(1, &GlobalLimitOptions::default());
    let limits = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions::default());
    let options = PoolOptions { inflight_limit: 2, client_limit: 1, ..Default::default() };
    let mut bench = Bench::new(1);
    bench.upstream = Upstream::new(Arc::new(pool(&[1], options).with_limits(&limits)), UpstreamOptions::default());
    let mut queue = Queue::new(global, 0);
    let clients = [(); 3].map(|()| queue.new_client());
    let mut attempts = Vec::new();
    for at in [0, 1, 0, 2] {
        let Admission::Granted(permit) = queue.admit(&limits, Some(&clients[at]), Nanos::NEVER, bench.now) else {
            panic!("no permit")
        };
        let request = Request { method: b"GET", has_body: false, key: 0 };
        attempts.push((permit, Attempts::new(&request, &bench.upstream, bench.now).for_client(clients[at].clone())));
    }
    for attempt in &mut attempts[..2] {
        assert!(matches!(attempt.1.on_start(&mut bench.cx()), Step::Start { .. }));
    }
    // The backend is full for both of the others, whatever their shares.
    let tickets = [2, 3].map(|at| {
        assert_eq!(attempts[at].1.on_start(&mut bench.cx()), Step::Full);
        queue.wait_backend(&attempts[at].0, false, None, Nanos::NEVER, bench.now).unwrap()
    });
    attempts[1].1.abort();
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(ticket)) if ticket == tickets[0]));
    assert_eq!(attempts[2].1.on_start(&mut bench.cx()), Step::ClientFull);
    queue.keep_waiting(tickets[0], true);
    assert!(matches!(queue.poll(bench.now), Some(Wake::TryBackend(ticket)) if ticket == tickets[1]));
    assert!(matches!(attempts[3].1.on_start(&mut bench.cx()), Step::Start { .. }));
    queue.leave(tickets[1]);
}

#[test]
fn a_share_sends_requests_to_other_backends_and_forbids_no_retry_there() {
    use crate::admit::{GlobalLimitOptions, GlobalLimits, Queue};
    let global = GlobalLimits::new(1, &GlobalLimitOptions::default());
    let client = Queue::new(global, 0).new_client();
    let mut bench = Bench::new(2);
    let options = PoolOptions { inflight_limit: 10, client_limit: 2, ..Default::default() };
    bench.upstream = Upstream::new(Arc::new(pool(&[1, 1], options)), UpstreamOptions::default());
    let request = Request { method: b"GET", has_body: false, key: 0 };
    let mut running = Vec::new();
    for _ in 0..4 {
        let mut attempt = Attempts::new(&request, &bench.upstream, bench.now).for_client(client.clone());
        assert!(matches!(attempt.on_start(&mut bench.cx()), Step::Start { .. }));
        running.push(attempt);
    }
    let backends: Vec<_> = bench.upstream.pool().members().iter().map(|member| member.state.in_flight()).collect();
    assert_eq!(backends, [2, 2]);
    let mut fifth = Attempts::new(&request, &bench.upstream, bench.now).for_client(client);
    assert_eq!(fifth.on_start(&mut bench.cx()), Step::ClientFull);
    running.pop();
    assert!(matches!(fifth.on_start(&mut bench.cx()), Step::Start { .. }));
}
