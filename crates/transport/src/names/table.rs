//! The table of names, shared by the resolver and the transports.
//!
//! Its locks are taken when a backend is added, when a connection is opened, and when a lookup ends; never for a request on an
//! open connection.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio::sync::Notify;

use super::counts::NameCounts;

/// The names of all backends with their addresses.
#[derive(Debug, Default)]
pub struct NameTable {
    records: Mutex<HashMap<String, Arc<NameRecord>>>,
    /// Longest time between two lookups of a name, in milliseconds; 0 if names are looked up again only on demand.
    refresh_ms: AtomicU64,
    /// Wakes the resolver: a name is new or a lookup is requested.
    work: Arc<Notify>,
    counts: NameCounts,
}

impl NameTable {
    /// Sets the longest time between two lookups of a name. With `None` names are looked up again only when no connection to
    /// their addresses can be made.
    pub fn configure(&self, refresh: Option<Duration>) {
        let millis = refresh.map_or(0, |interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1));
        if self.refresh_ms.swap(millis, Ordering::Relaxed) != millis {
            self.work.notify_one();
        }
    }

    pub(super) fn refresh(&self) -> Option<Duration> {
        Some(self.refresh_ms.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Duration::from_millis)
    }

    /// Waits until there may be something to do for the resolver.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// Returns the record of a name, which stays in the table while it is watched. `waker` is woken when its addresses change
    /// or a requested lookup has ended.
    pub(crate) fn watch(&self, host: &str, waker: Waker) -> WatchedName {
        let host = host.to_ascii_lowercase();
        let mut records = lock(&self.records);
        let record = records.entry(host).or_insert_with_key(|host| {
            let work = self.work.clone();
            Arc::new(NameRecord {
                host: host.clone(),
                version: AtomicU64::new(0),
                is_requested: AtomicBool::new(true),
                resolution: Mutex::default(),
                watchers: Mutex::default(),
                work,
            })
        });
        lock(&record.watchers).push(waker.clone());
        self.work.notify_one();
        WatchedName { record: record.clone(), waker }
    }

    /// Returns the counts of lookups.
    pub fn counts(&self) -> &NameCounts {
        &self.counts
    }

    /// Returns the number of addresses of all names.
    pub fn addresses(&self) -> usize {
        let records = lock(&self.records);
        records.values().map(|record| lock(&record.resolution).addresses.len()).sum()
    }

    /// Removes the names that are not watched any more, and returns the others.
    pub(super) fn watched(&self) -> Vec<Arc<NameRecord>> {
        let mut records = lock(&self.records);
        records.retain(|_, record| !lock(&record.watchers).is_empty());
        records.values().cloned().collect()
    }
}

/// A name and its addresses.
#[derive(Debug)]
pub(crate) struct NameRecord {
    host: String,
    /// Number of lookups that have ended.
    version: AtomicU64,
    is_requested: AtomicBool,
    resolution: Mutex<Resolution>,
    /// One for each watcher.
    watchers: Mutex<Vec<Waker>>,
    work: Arc<Notify>,
}

/// The result of the lookups of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolution {
    /// In the order in which they are to be tried. Kept if a later lookup fails. A set that does not change stays the same
    /// object.
    pub(crate) addresses: Arc<[IpAddr]>,
    /// Why the last lookup failed.
    pub(crate) error: Option<Arc<str>>,
}

impl NameRecord {
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Acquire)
    }

    pub(super) fn resolution(&self) -> Resolution {
        lock(&self.resolution).clone()
    }

    /// Stores the end of a lookup: the addresses, or why there are none. Wakes the watchers if something has changed for them.
    /// Returns the previous result.
    pub(super) fn update(&self, result: Result<Vec<IpAddr>, String>) -> Resolution {
        let mut resolution = lock(&self.resolution);
        let before = resolution.clone();
        match result {
            Ok(addresses) if is_same_set(&addresses, &before.addresses) => resolution.error = None,
            Ok(addresses) => *resolution = Resolution { addresses: addresses.into(), error: None },
            Err(error) => resolution.error = Some(error.into()),
        }
        let has_changed = !Arc::ptr_eq(&resolution.addresses, &before.addresses);
        drop(resolution);
        self.version.fetch_add(1, Ordering::Release);
        if self.is_requested.swap(false, Ordering::AcqRel) || has_changed {
            lock(&self.watchers).iter().for_each(Waker::wake_by_ref);
        }
        before
    }
}

fn is_same_set(some: &[IpAddr], other: &[IpAddr]) -> bool {
    some.len() == other.len() && some.iter().all(|address| other.contains(address))
}

/// A record that is kept up to date until this is dropped.
#[derive(Debug)]
pub(crate) struct WatchedName {
    record: Arc<NameRecord>,
    waker: Waker,
}

impl WatchedName {
    /// Returns the current addresses, and the number of lookups that have ended.
    pub(crate) fn current(&self) -> (Resolution, u64) {
        let version = self.version();
        (self.record.resolution(), version)
    }

    pub(crate) fn version(&self) -> u64 {
        self.record.version.load(Ordering::Acquire)
    }

    /// Requests a lookup. The waker is woken when it, or one that was in progress, has ended.
    pub(crate) fn request_lookup(&self) {
        if !self.record.is_requested.swap(true, Ordering::AcqRel) {
            self.record.work.notify_one();
        }
    }
}

impl Drop for WatchedName {
    fn drop(&mut self) {
        let mut watchers = lock(&self.record.watchers);
        if let Some(at) = watchers.iter().position(|waker| waker.will_wake(&self.waker)) {
            watchers.swap_remove(at);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicUsize, task::Wake};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn watchers_are_woken_by_changes_and_by_lookups_that_were_requested() {
        let (table, count) = (NameTable::default(), Arc::new(Count::default()));
        let name = table.watch("API.example", Waker::from(count.clone()));
        let record = table.watched().remove(0);
        let woken = || count.0.swap(0, Ordering::Relaxed);
        assert_eq!((record.host(), record.is_requested(), name.version()), ("api.example", true, 0));
        record.update(Err("timeout".to_owned()));
        assert_eq!((woken(), name.version(), name.current().0.error.as_deref()), (1, 1, Some("timeout")));
        record.update(Ok(ips(&["10.0.0.1", "10.0.0.2"])));
        assert_eq!((woken(), name.current().0.error), (1, None));
        let before = name.current().0.addresses;
        record.update(Ok(ips(&["10.0.0.2", "10.0.0.1"])));
        assert!(Arc::ptr_eq(&before, &name.current().0.addresses), "the order is no change");
        record.update(Err("timeout".to_owned()));
        assert_eq!((woken(), name.current().0.addresses.len()), (0, 2), "known addresses stay");
        name.request_lookup();
        record.update(Ok(ips(&["10.0.0.1", "10.0.0.2"])));
        assert_eq!(woken(), 1, "the lookup was requested");
        record.update(Ok(ips(&["10.0.0.1"])));
        assert_eq!((woken(), name.version()), (1, 6));
    }

    #[test]
    fn a_name_is_shared_and_goes_with_its_last_watcher() {
        let table = NameTable::default();
        let waker = || Waker::from(Arc::new(Count::default()));
        let names = [table.watch("a.example", waker()), table.watch("A.example", waker())];
        assert_eq!(table.watched().len(), 1);
        let [first, second] = names;
        drop(first);
        assert_eq!(table.watched().len(), 1);
        drop(second);
        assert_eq!(table.watched().len(), 0);
    }

    #[test]
    fn an_interval_of_less_than_a_millisecond_is_one() {
        let table = NameTable::default();
        assert_eq!(table.refresh(), None);
        table.configure(Some(Duration::from_micros(5)));
        assert_eq!(table.refresh(), Some(Duration::from_millis(1)));
        table.configure(None);
        assert_eq!(table.refresh(), None);
    }
}
