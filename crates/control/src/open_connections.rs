//! The open connections of an endpoint. Their number is limited; when the limit is reached, the one that has waited longest for
//! its client is closed in favour of a new one, so that clients which only keep connections open lock nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A connection is not closed before it has waited this long: its request or its response may be on the way.
const MIN_IDLE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct OpenConnections(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Entry>,
}

struct Entry {
    /// Since the connection was opened, or a request has begun or was answered. `None` while a complete request is executed.
    idle_since: Option<Instant>,
    closed: Arc<Notify>,
}

/// The place of a connection in the table, which it leaves when dropped.
pub(crate) struct Slot {
    number: u64,
    table: Arc<OpenConnections>,
    closed: Arc<Notify>,
}

/// The result of [`OpenConnections::take`].
pub(crate) struct Taken {
    /// `None` if no connection can be closed.
    pub(crate) slot: Option<Slot>,
    /// Whether the new connection or an idle one is closed because of the limit.
    pub(crate) is_at_limit: bool,
}

impl OpenConnections {
    /// Returns a slot for a new connection.
    pub(crate) fn take(self: &Arc<Self>, limit: usize, now: Instant) -> Taken {
        let mut table = self.lock();
        let is_at_limit = table.open.len() >= limit;
        if is_at_limit && !table.close_idle(now) {
            return Taken { slot: None, is_at_limit };
        }
        let (number, closed) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        table.open.insert(number, Entry { idle_since: Some(now), closed: closed.clone() });
        Taken { slot: Some(Slot { number, table: self.clone(), closed }), is_at_limit }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Closes the connection that has been idle for the longest time. Returns false if none has been idle long enough.
    fn close_idle(&mut self, now: Instant) -> bool {
        let idle = self.open.iter().filter_map(|(number, entry)| Some((entry.idle_since?, *number))).min();
        let Some((since, number)) = idle else { return false };
        if now.saturating_duration_since(since) < MIN_IDLE {
            return false;
        }
        if let Some(entry) = self.open.remove(&number) {
            entry.closed.notify_one();
        }
        true
    }
}

impl Slot {
    /// Must be called when a request begins, when it is complete (`None`), and when its answer is made.
    pub(crate) fn set_idle(&self, since: Option<Instant>) {
        if let Some(entry) = self.table.lock().open.get_mut(&self.number) {
            entry.idle_since = since;
        }
    }

    /// Waits until the connection must be closed in favour of another one.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connection_that_is_idle_longest_makes_room() {
        let (table, start) = (Arc::new(OpenConnections::default()), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let first = table.take(2, at(0)).slot.unwrap();
        let second = table.take(2, at(1)).slot.unwrap();
        let early = table.take(2, at(999));
        assert!(early.slot.is_none() && early.is_at_limit, "both may be about to send a request");
        first.set_idle(None);
        let third = table.take(2, at(5000));
        assert!(third.slot.is_some() && third.is_at_limit, "the second one is closed");
        second.closed().await;
        drop(second);
        first.set_idle(Some(at(6000)));
        let third = third.slot.unwrap();
        third.set_idle(None);
        assert!(table.take(2, at(6999)).slot.is_none());
        assert!(table.take(2, at(7000)).slot.is_some());
        first.closed().await;
        drop((first, third));
        let free = table.take(2, at(7001));
        assert!(free.slot.is_some() && !free.is_at_limit);
    }
}
