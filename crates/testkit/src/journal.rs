//! What an origin saw: requests, connections, resets, and how to await them.
//!
//! Owns the record that tests compare with what the client sent, to find a request that was lost or sent twice. Written
//! by the origins, read by tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::wait;

/// Request field by which a test names a request; an origin notes its value.
pub const REQUEST_ID: &str = "x-request-id";

/// One request that an origin processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `:method`.
    pub method: String,
    /// `:path`.
    pub path: String,
    /// `:authority`, or empty.
    pub authority: String,
    /// All other fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// Number of the connection, from 1.
    pub connection: usize,
}

impl Entry {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// How many fields have this name.
    pub fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(n, _)| n == name).count()
    }
}

/// Everything seen so far.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Connections accepted.
    pub connections: usize,
    /// Connections that have ended.
    pub closed: usize,
    /// Requests in the order of their heads. Refused ones are not here.
    pub requests: Vec<Entry>,
    /// Requests answered to the last byte.
    pub completed: usize,
    /// Requests that the peer gave up before their answer was complete.
    pub cancelled: usize,
    /// Streams that this origin refused unprocessed (beyond GOAWAY, or `REFUSED_STREAM`).
    pub refused: usize,
    /// `RST_STREAM` frames received, as stream and code. Only the raw origin sees these.
    pub resets: Vec<(u32, u32)>,
    /// `GOAWAY` frames received: their codes. Only the raw origin sees these.
    pub goaways: Vec<u32>,
    /// PING requests received. Only the raw origin sees these.
    pub pings: usize,
    /// Field sections received without a single field. Only the raw origin sees these.
    pub empty_sections: usize,
    /// Request body bytes received.
    pub body_bytes: u64,
}

impl Record {
    /// Request ids that were processed more than once.
    pub fn duplicates(&self) -> Vec<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for entry in &self.requests {
            if let Some(id) = entry.field(REQUEST_ID) {
                *counts.entry(id).or_default() += 1;
            }
        }
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id.to_owned()).collect()
    }
}

/// A shared, awaitable [`Record`].
#[derive(Debug, Clone)]
pub struct Journal(Arc<watch::Sender<Record>>);

impl Default for Journal {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Record::default())))
    }
}

impl Journal {
    /// A copy of the record as it is now.
    pub fn now(&self) -> Record {
        self.0.borrow().clone()
    }

    /// Looks at the record without copying it.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.0.borrow())
    }

    /// The last request processed.
    pub fn last(&self) -> Entry {
        self.0.borrow().requests.last().cloned().expect("the origin saw a request")
    }

    /// Awaits a state of the record, at most [`wait::BOUND`].
    pub async fn until(&self, what: &str, holds: impl FnMut(&Record) -> bool) -> Record {
        self.until_within(wait::BOUND, what, holds).await
    }

    /// Awaits a state of the record, at most `limit`.
    pub async fn until_within(&self, limit: Duration, what: &str, holds: impl FnMut(&Record) -> bool) -> Record {
        let mut reader = self.0.subscribe();
        let state = wait::within_time(limit, what, reader.wait_for(holds)).await;
        state.expect("the journal outlives its readers").clone()
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Record)) {
        self.0.send_modify(change);
    }

    /// Counts a new connection and gives its number.
    pub(crate) fn connect(&self) -> usize {
        let mut number = 0;
        self.note(|record| {
            record.connections += 1;
            number = record.connections;
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry {
        let fields = vec![(REQUEST_ID.to_owned(), id.to_owned())];
        Entry { method: "GET".into(), path: "/".into(), authority: String::new(), fields, connection: 1 }
    }

    #[tokio::test]
    async fn finds_what_was_sent_twice() {
        let journal = Journal::default();
        let writer = journal.clone();
        let task = tokio::spawn(async move {
            for id in ["a", "b", "a"] {
                writer.note(|record| record.requests.push(entry(id)));
            }
        });
        let record = journal.until("three requests", |record| record.requests.len() == 3).await;
        task.await.unwrap();
        assert_eq!(record.duplicates(), ["a"]);
    }
}
