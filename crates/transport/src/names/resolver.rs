//! The resolver: looks up the names of a [`NameTable`] and keeps them up to date.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::task::JoinSet;

use super::{
    family::Answer,
    schedule::{Kind, Schedule},
    system::{self, System, SystemFiles},
    table::{NameRecord, NameTable, Resolution},
};

/// Maximum number of addresses of a name that are used.
const MAX_ADDRESSES: usize = 16;
/// Maximum number of lookups at once; each has two queries.
const MAX_LOOKUPS: usize = 64;

/// A change of what is known about a name, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameEvent {
    /// The name has other addresses than before.
    Changed {
        /// The name.
        host: String,
        /// The addresses now.
        addresses: Vec<IpAddr>,
        /// The addresses before; empty after the first lookup.
        before: Vec<IpAddr>,
    },
    /// Lookups began to fail.
    Failed {
        /// The name.
        host: String,
        /// The cause.
        error: String,
        /// Number of addresses that stay in use.
        kept: usize,
    },
    /// Lookups succeed again, with the addresses that were known.
    Recovered {
        /// The name.
        host: String,
    },
}

type Lookups = JoinSet<(Arc<NameRecord>, Kind, Answer)>;

/// Looks up the names of a table. Must be run within a tokio runtime that has its I/O and time drivers enabled.
pub struct Resolver {
    table: Arc<NameTable>,
    system: System,
    names: HashMap<String, Schedule>,
    lookups: Lookups,
    refresh: Option<Duration>,
}

impl Resolver {
    /// Creates a resolver that is configured by these files.
    pub fn new(table: Arc<NameTable>, files: SystemFiles) -> Self {
        let refresh = table.refresh();
        Self { table, system: System::new(files), names: HashMap::new(), lookups: JoinSet::new(), refresh }
    }

    /// Resolves names until the future is dropped. Calls `report` with each change.
    pub async fn run(mut self, report: impl Fn(NameEvent)) {
        loop {
            let next = self.start_lookups(&report);
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.table.work() => {}
                Some(ended) = self.lookups.join_next() => {
                    if let Ok((record, kind, answer)) = ended {
                        self.on_answer(&record, kind, answer, &report);
                    }
                }
                () = sleep => {}
            }
        }
    }

    /// Starts the lookups that are due and publishes incomplete ones that are late. Returns when to do that again.
    fn start_lookups(&mut self, report: &impl Fn(NameEvent)) -> Option<Instant> {
        let (now, refresh) = (Instant::now(), self.table.refresh());
        if std::mem::replace(&mut self.refresh, refresh) != refresh {
            self.names.values_mut().for_each(|schedule| schedule.set_refresh(refresh, now));
        }
        let records = self.table.watched();
        let watched: HashSet<&str> = records.iter().map(|record| record.host()).collect();
        self.names.retain(|host, _| watched.contains(host.as_str()));
        let mut next = None;
        for record in records {
            let schedule = self.names.entry(record.host().to_owned()).or_default();
            if let Some(addresses) = schedule.partial(now) {
                let has_changed = publish(&record, Ok(addresses), report);
                self.table.counts().on_change(has_changed);
            }
            let is_requested = record.is_requested();
            if schedule.is_due(is_requested, now) && self.lookups.len() < 2 * MAX_LOOKUPS {
                schedule.start(now);
                start(&mut self.lookups, &mut self.system, &record);
            }
            let times = [next, schedule.next(is_requested), schedule.partial_at()];
            next = times.into_iter().flatten().min();
        }
        // A name that has to wait for the end of other lookups is started by that.
        next.filter(|at| *at > now)
    }

    fn on_answer(&mut self, record: &Arc<NameRecord>, kind: Kind, answer: Answer, report: &impl Fn(NameEvent)) {
        let Some(schedule) = self.names.get_mut(record.host()) else { return };
        if let Some(result) = schedule.finish(kind, answer, self.refresh, Instant::now()) {
            let is_success = result.is_ok();
            let has_changed = publish(record, result, report);
            self.table.counts().on_lookup(is_success, SystemTime::now());
            self.table.counts().on_change(has_changed);
        }
    }
}

/// Starts a lookup of both record types.
fn start(lookups: &mut Lookups, system: &mut System, record: &Arc<NameRecord>) {
    let current = system.current();
    for kind in [Kind::A, Kind::Aaaa] {
        let (record, current) = (record.clone(), current.clone());
        lookups.spawn(async move {
            let answer = match current {
                Ok((resolver, hosts)) => system::lookup(resolver, hosts, record.host().to_owned(), kind).await,
                Err(error) => Answer::Failed(error.to_string()),
            };
            (record, kind, answer)
        });
    }
}

/// Stores the result of a lookup and reports what has changed. Returns whether the name had other addresses before.
fn publish(record: &NameRecord, result: Result<Vec<IpAddr>, String>, report: &impl Fn(NameEvent)) -> bool {
    let result = result.map(usable_first);
    let Resolution { addresses: before, error } = record.update(result.clone());
    let host = || record.host().to_owned();
    let addresses = record.resolution().addresses;
    let has_changed = !Arc::ptr_eq(&addresses, &before);
    match result {
        Ok(_) if has_changed => {
            report(NameEvent::Changed { host: host(), addresses: addresses.to_vec(), before: before.to_vec() });
        }
        Ok(_) if error.is_some() => report(NameEvent::Recovered { host: host() }),
        Err(failure) if error.is_none() => {
            report(NameEvent::Failed { host: host(), error: failure, kept: before.len() });
        }
        Ok(_) | Err(_) => {} // nothing new
    }
    has_changed && !before.is_empty()
}

/// Moves the addresses to which this machine has no route behind the others (RFC 6724 section 5, rule 1).
fn usable_first(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut seen: Vec<IpAddr> = Vec::new();
    addresses.retain(|address| {
        let is_new = !seen.contains(address) && seen.len() < MAX_ADDRESSES;
        seen.extend(is_new.then_some(*address));
        is_new
    });
    addresses.sort_by_cached_key(|address| !has_route(*address));
    addresses
}

/// Connecting a UDP socket looks up the route and sends nothing.
fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(SocketAddr::new(address, 9))).is_ok()
}

#[cfg(test)]
mod tests;
