//! Resolution, lazy arming, and wake-ups without reading the descriptor.

use std::future::poll_fn;
use std::task::Waker;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn expire(timer: &mut Timer) {
    let bound = Duration::from_secs(20);
    tokio::time::timeout(bound, poll_fn(|cx| timer.poll_expired(cx))).await.expect("fires").unwrap();
}

/// Lets the runtime's driver process its events, without waiting for more.
async fn turn(timer: &mut Timer) -> Poll<()> {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    timer.poll_expired(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
}

#[test]
fn fires_repeatedly_and_never_early() {
    runtime().block_on(async {
        let mut timer = Timer::new().unwrap();
        for micros in [0, 1, 50, 300, 2000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            timer.set(Some(deadline)).unwrap();
            expire(&mut timer).await;
            assert!(Instant::now() >= deadline);
            assert!(turn(&mut timer).await.is_pending(), "a deadline expires once");
        }
    });
}

#[test]
fn a_deadline_in_the_past_fires_at_once() {
    runtime().block_on(async {
        let mut timer = Timer::new().unwrap();
        timer.set(Instant::now().checked_sub(Duration::from_secs(1))).unwrap();
        expire(&mut timer).await;
    });
}

#[test]
fn a_later_deadline_keeps_the_arming_and_an_earlier_one_replaces_it() {
    runtime().block_on(async {
        let mut timer = Timer::new().unwrap();
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        timer.set(Some(at(10))).unwrap();
        timer.set(Some(at(30))).unwrap();
        assert_eq!(timer.armed, Some(at(10)));
        expire(&mut timer).await;
        assert!(Instant::now() >= at(30));

        let now = Instant::now();
        timer.set(Some(now + Duration::from_secs(3600))).unwrap();
        timer.set(Some(now)).unwrap();
        assert_eq!(timer.armed, Some(now));
        expire(&mut timer).await;
    });
}

#[test]
fn a_removed_deadline_does_not_fire_but_the_next_one_does() {
    runtime().block_on(async {
        let mut timer = Timer::new().unwrap();
        let removed = Instant::now() + Duration::from_millis(1);
        timer.set(Some(removed)).unwrap();
        timer.set(None).unwrap();
        while Instant::now() < removed + Duration::from_millis(1) {
            assert!(turn(&mut timer).await.is_pending());
        }
        let next = Instant::now() + Duration::from_millis(2);
        timer.set(Some(next)).unwrap();
        expire(&mut timer).await;
        assert!(Instant::now() >= next);
    });
}

/// An expiry that the runtime has seen but the caller has not must not end a later deadline.
#[test]
fn an_unseen_expiry_does_not_count_for_the_next_arming() {
    runtime().block_on(async {
        let mut timer = Timer::new().unwrap();
        let first = Instant::now();
        timer.set(Some(first)).unwrap();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        timer.armed = None; // As if it had been polled.
        let second = Instant::now() + Duration::from_millis(20);
        timer.set(Some(second)).unwrap();
        expire(&mut timer).await;
        assert!(Instant::now() >= second);
    });
}
