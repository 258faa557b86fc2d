//! Waits with a time limit, so that no test hangs.

use std::future::Future;
use std::time::Duration;

/// Default time limit. Long, because tests run concurrently on loaded machines; a test of a deadline passes its own.
pub const BOUND: Duration = Duration::from_secs(30);

/// Awaits `future`. Fails the test with `what` in the message after [`BOUND`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(BOUND, what, future).await
}

/// Awaits `future`. Fails the test with `what` in the message after `limit`.
pub async fn within_time<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let value = tokio::time::timeout(limit, future).await;
    value.unwrap_or_else(|_| panic!("gave up after {limit:?} waiting for {what}"))
}

/// Repeats `attempt` every 10 ms until it returns a value, at most for `limit`. For conditions of other processes that
/// cannot be awaited, such as an open port.
pub async fn until<T, F>(limit: Duration, what: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let poll = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within_time(limit, what, poll).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waiting for a thing that never comes")]
    async fn a_wait_that_fails_names_what_it_waited_for() {
        within("a thing that never comes", std::future::pending::<()>()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn until_tries_again() {
        let mut left = 3;
        let value = until(BOUND, "the third attempt", || {
            left -= 1;
            let done = (left == 0).then_some("done");
            async move { done }
        })
        .await;
        assert_eq!(value, "done");
    }
}
