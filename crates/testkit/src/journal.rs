//! Records the requests, connections and resets that an origin sees. Tests wait for them and compare them with what the
//! client sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::wait;

/// Request field with the id that a test gives to a request.
pub const REQUEST_ID: &str = "x-request-id";

/// A request that an origin processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `:method`.
    pub method: String,
    /// `:path`.
    pub path: String,
    /// `:authority`, or empty.
    pub authority: String,
    /// All other fields in order, with lower-case names, `:protocol` among them.
    pub fields: Vec<(String, String)>,
    /// Number of the connection, from 1.
    pub connection: usize,
}

impl Entry {
    /// Returns the first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns the number of fields with this name.
    pub fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(n, _)| n == name).count()
    }
}

/// Everything that the origin has seen.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Connections accepted.
    pub connections: usize,
    /// Connections that ended.
    pub closed: usize,
    /// Requests in the order of their heads, without refused ones.
    pub requests: Vec<Entry>,
    /// Requests with a complete response.
    pub completed: usize,
    /// Requests that the peer cancelled before the response was complete.
    pub cancelled: usize,
    /// Streams that the origin did not process (above the last id of a GOAWAY, or `REFUSED_STREAM`).
    pub refused: usize,
    /// `RST_STREAM` frames received, as stream and code. Only rogue origins record these.
    pub resets: Vec<(u32, u32)>,
    /// Codes of GOAWAY frames received. Only rogue origins record these.
    pub goaways: Vec<u32>,
    /// PING frames received, without ACK. Only rogue origins record these.
    pub pings: usize,
    /// Empty field sections received. Only rogue origins record these.
    pub empty_sections: usize,
    /// Request body bytes received.
    pub body_bytes: u64,
}

impl Record {
    /// Returns the ids of requests that were processed more than once.
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

/// A shared [`Record`] whose changes can be awaited.
#[derive(Debug, Clone)]
pub struct Journal(Arc<watch::Sender<Record>>);

impl Default for Journal {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Record::default())))
    }
}

impl Journal {
    /// Returns a copy of the record.
    pub fn now(&self) -> Record {
        self.0.borrow().clone()
    }

    /// Reads the record without copying it.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Returns the last request.
    pub fn last(&self) -> Entry {
        self.0.borrow().requests.last().cloned().expect("the origin saw a request")
    }

    /// Waits until `holds` is true, at most [`wait::BOUND`].
    pub async fn until(&self, what: &str, holds: impl FnMut(&Record) -> bool) -> Record {
        self.until_within(wait::BOUND, what, holds).await
    }

    /// Waits until `holds` is true, at most `limit`.
    pub async fn until_within(&self, limit: Duration, what: &str, holds: impl FnMut(&Record) -> bool) -> Record {
        let mut reader = self.0.subscribe();
        let state = wait::within_time(limit, what, reader.wait_for(holds)).await;
        state.expect("the journal outlives its readers").clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Record)) {
        self.0.send_modify(change);
    }

    /// Counts a new connection and returns its number.
    pub(crate) fn connect(&self) -> usize {
        let mut number = 0;
        self.update(|record| {
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
                writer.update(|record| record.requests.push(entry(id)));
            }
        });
        let record = journal.until("three requests", |record| record.requests.len() == 3).await;
        task.await.unwrap();
        assert_eq!(record.duplicates(), ["a"]);
    }
}
