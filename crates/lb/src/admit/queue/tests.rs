//! Waiting and its end: order, caps, deadlines, permits that come back, workers that wake each other.

use std::time::Duration;

use super::*;
use crate::admit::{AdaptiveOptions, BrownoutOptions, GlobalLimitOptions, RouteLimitOptions};

const AT: fn(u64) -> Nanos = Nanos::from_millis;

fn global(limit: u32) -> Arc<GlobalLimits> {
    let options = GlobalLimitOptions { inflight_limit: limit, adaptive: None, brownout: None, ..Default::default() };
    GlobalLimits::new(2, &options)
}

fn limits(global: &Arc<GlobalLimits>, limit: u32) -> Arc<RouteLimits> {
    RouteLimits::new(Arc::clone(global), 2, &RouteLimitOptions { inflight_limit: limit, ..Default::default() })
}

fn granted(admission: Admission) -> Permit {
    match admission {
        Admission::Granted(permit) => permit,
        other => panic!("{other:?}"),
    }
}

fn queued(admission: Admission) -> Ticket {
    match admission {
        Admission::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn refused(admission: Admission) -> Reason {
    match admission {
        Admission::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn refusal(queue: &mut Queue, now: u64) -> Reason {
    match queue.poll(AT(now)) {
        Some(Wake::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn next_grant(queue: &mut Queue, now: Nanos) -> Option<(Ticket, Permit)> {
    match queue.poll(now)? {
        Wake::Granted { ticket, permit, .. } => Some((ticket, permit)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_upstream_is_waited_for_in_order() {
    let global = global(100);
    let limits = limits(&global, 1);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let first = granted(queue.admit(&limits, None, Nanos::NEVER, AT(1)));
    let second = queued(queue.admit(&limits, None, Nanos::NEVER, AT(2)));
    let third = queued(queue.admit(&limits, None, Nanos::NEVER, AT(3)));
    assert!(queue.poll(AT(4)).is_none());
    assert_eq!((global.in_flight(), limits.queued(), global.queued()), (1, 2, 2));
    drop(first);
    let fourth = queued(queue.admit(&limits, None, Nanos::NEVER, AT(4)));
    let (ticket, permit) = next_grant(&mut queue, AT(5)).unwrap();
    assert_eq!(ticket, second, "nobody overtakes");
    assert!(queue.poll(AT(5)).is_none());
    drop(permit);
    let (ticket, permit) = next_grant(&mut queue, AT(6)).unwrap();
    assert_eq!(ticket, third);
    queue.leave(fourth);
    drop(permit);
    assert!(queue.poll(AT(7)).is_none());
    assert_eq!(queue.due(), Nanos::NEVER, "nobody waits, nothing is due");
    assert_eq!((global.in_flight(), limits.in_flight(), global.queued()), (0, 0, 0));
}

#[test]
fn waiting_in_vain_ends_with_the_reason_of_the_limit() {
    let global = global(2);
    let (narrow, wide) = (limits(&global, 1), limits(&global, 10));
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let _one = granted(queue.admit(&narrow, None, Nanos::NEVER, AT(0)));
    queued(queue.admit(&narrow, None, Nanos::NEVER, AT(0)));
    let two = granted(queue.admit(&wide, None, Nanos::NEVER, AT(0)));
    queued(queue.admit(&wide, None, AT(200), AT(100)));
    assert_eq!(queue.due(), AT(200));
    assert!(queue.poll(AT(199)).is_none());
    assert_eq!(refusal(&mut queue, 200), Reason::GlobalInflight);
    drop(two);
    assert!(queue.poll(AT(300)).is_none());
    assert_eq!(refusal(&mut queue, 500), Reason::UpstreamInflight, "what it waited for last");
    assert_eq!((global.queued(), queue.due()), (0, Nanos::NEVER));
}

#[test]
fn caps_refuse_at_once() {
    let options = GlobalLimitOptions { inflight_limit: 0, queue_cap: 3, adaptive: None, brownout: None };
    let global = GlobalLimits::new(1, &options);
    let small = RouteLimitOptions { queue_cap: 2, ..Default::default() };
    let scopes = [0, 1].map(|_| RouteLimits::new(Arc::clone(&global), 1, &small));
    let mut queue = Queue::new(Arc::clone(&global), 0);
    queued(queue.admit(&scopes[0], None, Nanos::NEVER, AT(0)));
    queued(queue.admit(&scopes[0], None, Nanos::NEVER, AT(0)));
    assert_eq!(refused(queue.admit(&scopes[0], None, Nanos::NEVER, AT(0))), Reason::RouteCap);
    queued(queue.admit(&scopes[1], None, Nanos::NEVER, AT(0)));
    assert_eq!(refused(queue.admit(&scopes[1], None, Nanos::NEVER, AT(0))), Reason::RouteGlobalCap);
    assert_eq!((scopes[1].queued(), global.queued()), (1, 3));
    drop(queue);
    assert_eq!((scopes[0].queued(), global.queued()), (0, 0), "a worker that dies takes its waiters along");
}

#[test]
fn without_a_wait_a_full_limit_refuses() {
    let global = global(100);
    let options = RouteLimitOptions { inflight_limit: 0, max_wait: Duration::ZERO, ..Default::default() };
    let limits = RouteLimits::new(Arc::clone(&global), 2, &options);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    assert_eq!(refused(queue.admit(&limits, None, Nanos::NEVER, AT(1))), Reason::UpstreamInflight);
    assert_eq!(global.queued(), 0);
}

#[test]
fn the_oldest_waiter_goes_first_over_workers() {
    let global = global(1);
    let (one, two) = (limits(&global, 10), limits(&global, 10));
    let mut queues = [0, 1].map(|worker| Queue::new(Arc::clone(&global), worker));
    let permit = granted(queues[0].admit(&one, None, Nanos::NEVER, AT(0)));
    let late = queued(queues[0].admit(&one, None, Nanos::NEVER, AT(20)));
    let early = queued(queues[1].admit(&two, None, Nanos::NEVER, AT(10)));
    for queue in &mut queues {
        assert!(queue.poll(AT(20)).is_none());
    }
    drop(permit);
    assert!(next_grant(&mut queues[0], AT(21)).is_none(), "the younger one waits though it is asked first");
    let (ticket, permit) = next_grant(&mut queues[1], AT(21)).unwrap();
    assert_eq!(ticket, early);
    assert!(queues[0].poll(AT(22)).is_none());
    drop(permit);
    assert_eq!(next_grant(&mut queues[0], AT(23)).unwrap().0, late);
}

#[test]
fn a_freed_place_rings_the_worker_that_waits() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let global = global(1);
    let limits = limits(&global, 1);
    let flag = Arc::new(Flag(false.into()));
    global.set_waker(1, Arc::clone(&flag).into());
    let mut queues = [0, 1].map(|worker| Queue::new(Arc::clone(&global), worker));
    let permit = granted(queues[0].admit(&limits, None, Nanos::NEVER, AT(0)));
    queued(queues[1].admit(&limits, None, Nanos::NEVER, AT(1)));
    assert!(queues[1].poll(AT(1)).is_none());
    flag.0.store(false, std::sync::atomic::Ordering::SeqCst);
    drop(permit);
    assert!(flag.0.load(std::sync::atomic::Ordering::SeqCst));
    assert!(next_grant(&mut queues[1], AT(2)).is_some());
}

#[test]
fn waiting_for_a_backend_keeps_the_permit_and_the_place_in_line() {
    let global = global(10);
    let limits = limits(&global, 1);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let first = granted(queue.admit(&limits, None, Nanos::NEVER, AT(0)));
    queued(queue.admit(&limits, None, Nanos::NEVER, AT(1)));
    let ticket = queue.wait_backend(&first, false, None, Nanos::NEVER, AT(2)).unwrap();
    assert!(limits.has_backend_waiters());
    assert!(matches!(queue.poll(AT(2)), Some(Wake::TryBackend(tried)) if tried == ticket));
    assert!(queue.poll(AT(2)).is_none(), "once is enough until a permit is released");
    limits.on_backend_free();
    assert!(matches!(queue.poll(AT(3)), Some(Wake::TryBackend(tried)) if tried == ticket));
    queue.leave(ticket);
    assert!(!limits.has_backend_waiters());
    drop(first);
    let Some(Wake::Granted { permit, waited, .. }) = queue.poll(AT(4)) else { panic!() };
    assert_eq!(waited, WaitPeriod { since: AT(1), until: AT(501) });
    queue.wait_backend(&permit, false, Some(waited), Nanos::NEVER, AT(400)).unwrap();
    assert!(matches!(queue.poll(AT(400)), Some(Wake::TryBackend(_))));
    assert!(matches!(queue.poll(AT(501)), Some(Wake::Refused { reason: Reason::BackendInflight, .. })));
}

#[test]
fn brownout_serves_core_routes_only() {
    let options = GlobalLimitOptions {
        inflight_limit: 10,
        adaptive: None,
        brownout: Some(BrownoutOptions::default()),
        ..Default::default()
    };
    let global = GlobalLimits::new(1, &options);
    let plain = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions::default());
    let core = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions { core: true, ..Default::default() });
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let mut held: Vec<_> = (0..9).map(|_| granted(queue.admit(&plain, None, Nanos::NEVER, AT(0)))).collect();
    assert_eq!(refused(queue.admit(&plain, None, Nanos::NEVER, AT(0))), Reason::Brownout);
    held.push(granted(queue.admit(&core, None, Nanos::NEVER, AT(0))));
    assert!(global.in_brownout());
    held.truncate(6);
    assert!(!global.in_brownout(), "60 % and below");
    drop(granted(queue.admit(&plain, None, Nanos::NEVER, AT(0))));
}

#[test]
fn of_several_full_limits_the_first_in_order_gives_the_reason() {
    let adaptive = AdaptiveOptions { min_limit: 1, max_limit: 1, ..Default::default() };
    let cases = [(Some(adaptive), 2, Reason::AdaptiveAdmission), (None, 1, Reason::GlobalInflight)];
    for (adaptive, inflight_limit, second) in cases {
        let brownout = Some(BrownoutOptions::default());
        let options = GlobalLimitOptions { inflight_limit, adaptive, brownout, ..Default::default() };
        let global = GlobalLimits::new(1, &options);
        let [plain, core] = [false, true].map(|core| {
            let options = RouteLimitOptions { inflight_limit: 1, max_wait: Duration::ZERO, core, ..Default::default() };
            RouteLimits::new(Arc::clone(&global), 1, &options)
        });
        let mut queue = Queue::new(Arc::clone(&global), 0);
        let _all = granted(queue.admit(&core, None, Nanos::NEVER, AT(0)));
        assert_eq!(refused(queue.admit(&plain, None, Nanos::NEVER, AT(0))), Reason::Brownout);
        assert_eq!(
            refused(queue.admit(&core, None, Nanos::NEVER, AT(0))),
            second,
            "before its own limit, which is full too"
        );
    }
}

#[test]
fn the_adaptive_limit_is_waited_for_and_time_lets_waiters_go() {
    let adaptive =
        AdaptiveOptions { min_limit: 1, max_limit: 2, decrease_step: 1, increase_step: 1, ..Default::default() };
    let options = GlobalLimitOptions { adaptive: Some(adaptive), brownout: None, ..Default::default() };
    let global = GlobalLimits::new(1, &options);
    let limits = RouteLimits::new(Arc::clone(&global), 1, &RouteLimitOptions::default());
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let both = [
        granted(queue.admit(&limits, None, Nanos::NEVER, AT(1000))),
        granted(queue.admit(&limits, None, Nanos::NEVER, AT(1000))),
    ];
    (0..10).for_each(|_| limits.on_timeout(0, AT(1000)));
    let ticket = queued(queue.admit(&limits, None, Nanos::NEVER, AT(1100)));
    assert_eq!(global.limit(), (1, Limit::Adaptive), "a window in which all timed out");
    let [one, _two] = both;
    drop(one);
    assert!(queue.poll(AT(1100)).is_none());
    assert_eq!(queue.due(), AT(1200), "when the limit may rise");
    assert!(queue.poll(AT(1199)).is_none());
    let second = next_grant(&mut queue, AT(1200)).unwrap();
    assert_eq!(second.0, ticket);
    queued(queue.admit(&limits, None, Nanos::NEVER, AT(1201)));
    assert!(matches!(queue.poll(AT(1701)), Some(Wake::Refused { reason: Reason::AdaptiveAdmission, .. })));
}

#[test]
fn the_limit_in_effect_is_the_smaller_one_and_an_adaptive_one_that_has_not_sunk_is_the_global_one() {
    for (adaptive, effective) in [(9, (9, Limit::Adaptive)), (10, (10, Limit::Global)), (11, (10, Limit::Global))] {
        let adaptive = Some(AdaptiveOptions { min_limit: 1, max_limit: adaptive, ..Default::default() });
        let options = GlobalLimitOptions { inflight_limit: 10, adaptive, ..Default::default() };
        assert_eq!(GlobalLimits::new(1, &options).limit(), effective);
    }
    assert_eq!(global(10).limit(), (10, Limit::Global));
}

/// The limits of an upstream of which one client may hold this many permits.
fn shared(global: &Arc<GlobalLimits>, limit: u32, client_limit: u32) -> Arc<RouteLimits> {
    RouteLimits::new(
        Arc::clone(global),
        2,
        &RouteLimitOptions { inflight_limit: limit, client_limit, ..Default::default() },
    )
}

#[test]
fn a_client_that_holds_its_share_waits_and_others_pass_it() {
    let global = global(100);
    let limits = shared(&global, 4, 2);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let (hog, other) = (queue.new_client(), queue.new_client());
    let first = granted(queue.admit(&limits, Some(&hog), Nanos::NEVER, AT(1)));
    let second = granted(queue.admit(&limits, Some(&hog), Nanos::NEVER, AT(1)));
    let waiting = [2, 3, 4].map(|ms| queued(queue.admit(&limits, Some(&hog), Nanos::NEVER, AT(ms))));
    assert!(queue.poll(AT(4)).is_none());
    // On this worker and on another.
    let mut elsewhere = Queue::new(Arc::clone(&global), 1);
    let far = elsewhere.new_client();
    let _passed = granted(queue.admit(&limits, Some(&other), Nanos::NEVER, AT(5)));
    drop(granted(elsewhere.admit(&limits, Some(&far), Nanos::NEVER, AT(5))));
    // A permit released by the client itself admits its first request, and no more.
    drop(first);
    let (ticket, third) = next_grant(&mut queue, AT(6)).unwrap();
    assert_eq!(ticket, waiting[0]);
    assert!(queue.poll(AT(6)).is_none());
    // One that leaves gives its turn to the next.
    queue.leave(waiting[1]);
    drop((second, third));
    assert_eq!(next_grant(&mut queue, AT(7)).unwrap().0, waiting[2]);
    assert!(queue.poll(AT(8)).is_none() && queue.due() == Nanos::NEVER);
    assert_eq!((limits.in_flight(), global.queued()), (1, 0));
}

#[test]
fn waiting_for_ones_own_share_in_vain_ends_as_if_the_upstream_were_full() {
    let global = global(100);
    let limits = shared(&global, 4, 1);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let hog = queue.new_client();
    let _held = granted(queue.admit(&limits, Some(&hog), Nanos::NEVER, AT(0)));
    queued(queue.admit(&limits, Some(&hog), Nanos::NEVER, AT(1)));
    assert_eq!(refusal(&mut queue, 501), Reason::UpstreamInflight);
    assert_eq!((limits.in_flight(), global.queued()), (1, 0));
}

#[test]
fn shares_do_not_disturb_the_order_of_those_who_wait_for_the_limit() {
    let global = global(100);
    let limits = shared(&global, 2, 1);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let clients = [(); 4].map(|()| queue.new_client());
    let hog = granted(queue.admit(&limits, Some(&clients[0]), Nanos::NEVER, AT(0)));
    let other = granted(queue.admit(&limits, Some(&clients[1]), Nanos::NEVER, AT(0)));
    let greedy = queued(queue.admit(&limits, Some(&clients[0]), Nanos::NEVER, AT(1)));
    let second = queued(queue.admit(&limits, Some(&clients[2]), Nanos::NEVER, AT(2)));
    let third = queued(queue.admit(&limits, Some(&clients[3]), Nanos::NEVER, AT(3)));
    assert!(queue.poll(AT(3)).is_none());
    drop(other);
    let (ticket, _second) = next_grant(&mut queue, AT(4)).unwrap();
    assert_eq!(ticket, second, "it passes the one that was there before");
    assert!(queue.poll(AT(4)).is_none());
    drop(hog);
    let (ticket, _first) = next_grant(&mut queue, AT(5)).unwrap();
    assert_eq!(ticket, greedy, "and that one passes nobody once it may go");
    assert!(queue.poll(AT(5)).is_none());
    queue.leave(third);
}

/// The one that is told to try a backend now.
fn try_backend(queue: &mut Queue, now: u64) -> Option<Ticket> {
    match queue.poll(AT(now))? {
        Wake::TryBackend(ticket) => Some(ticket),
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_many_of_one_client_go_on_as_places_came_back_at_once() {
    let global = global(100);
    let limits = limits(&global, 10);
    let mut queue = Queue::new(Arc::clone(&global), 0);
    let client = queue.new_client();
    let permits = [1, 2, 3].map(|ms| granted(queue.admit(&limits, Some(&client), Nanos::NEVER, AT(ms))));
    let [one, two, three] =
        [0, 1, 2].map(|at| queue.wait_backend(&permits[at], true, None, Nanos::NEVER, AT(4 + at as u64)).unwrap());
    assert_eq!(try_backend(&mut queue, 7), Some(one), "once more when shown");
    queue.keep_waiting(one, true);
    assert_eq!(try_backend(&mut queue, 7), None);
    // Two permits are released before any worker is woken.
    limits.on_backend_free();
    limits.on_backend_free();
    assert_eq!(try_backend(&mut queue, 8), Some(one));
    queue.leave(one);
    assert_eq!(try_backend(&mut queue, 8), Some(two));
    queue.leave(two);
    assert_eq!(try_backend(&mut queue, 8), Some(three));
    queue.keep_waiting(three, true);
    assert_eq!(try_backend(&mut queue, 8), None);
}

#[test]
fn who_waits_for_backends_of_an_earlier_configuration_is_passed_and_still_called_first() {
    let global = global(100);
    let limits = limits(&global, 10);
    let mut queues = [0, 1].map(|worker| Queue::new(Arc::clone(&global), worker));
    let client = queues[0].new_client();
    let permits = [1, 2].map(|ms| granted(queues[0].admit(&limits, Some(&client), Nanos::NEVER, AT(ms))));
    let old = queues[0].wait_backend(&permits[0], false, None, Nanos::NEVER, AT(3)).unwrap();
    assert!(limits.has_backend_waiters());
    queues[0].on_reload();
    assert!(!limits.has_backend_waiters(), "nobody has to let it go first");
    assert_eq!(try_backend(&mut queues[0], 4), Some(old), "once more when that has changed");
    queues[0].keep_waiting(old, true);
    assert_eq!(try_backend(&mut queues[0], 4), None);
    // Requests of the new configuration that have to wait as well, here and elsewhere.
    let new = queues[0].wait_backend(&permits[1], false, None, Nanos::NEVER, AT(5)).unwrap();
    assert!(limits.has_backend_waiters());
    let far = queues[1].new_client();
    let far_permit = granted(queues[1].admit(&limits, Some(&far), Nanos::NEVER, AT(6)));
    let elsewhere = queues[1].wait_backend(&far_permit, false, None, Nanos::NEVER, AT(6)).unwrap();
    while let Some(ticket) = try_backend(&mut queues[0], 6) {
        queues[0].keep_waiting(ticket, ticket == old);
    }
    assert_eq!(try_backend(&mut queues[1], 6), None, "younger than the new one of the other worker");
    limits.on_backend_free();
    assert_eq!([7, 7, 7].map(|ms| try_backend(&mut queues[0], ms)), [Some(old), Some(new), None], "the oldest first");
    queues[0].keep_waiting(old, true);
    queues[0].leave(new);
    assert_ne!(try_backend(&mut queues[0], 8), Some(new));
    assert_eq!(try_backend(&mut queues[1], 8), Some(elsewhere));
    queues[0].leave(old);
    queues[1].leave(elsewhere);
    assert_eq!(global.queued(), 0);
}
