//! The share of the limits that each client connection uses.

use super::io::ClientSide;
use spooky_lb::admit::{ClientShare, Queue};

/// The shares by listener and connection number, with the epoch of the connection that has the number now.
#[derive(Default)]
pub(super) struct ClientShares(Vec<Vec<Option<(u32, ClientShare)>>>);

impl ClientShares {
    /// Returns the share of a stream's connection; creates it if needed.
    pub(super) fn of(&mut self, client: ClientSide, queue: &Queue) -> ClientShare {
        let (listener, conn, epoch) = client.connection();
        let Self(listeners) = self;
        if listeners.len() <= listener {
            listeners.resize_with(listener + 1, Vec::new);
        }
        let Some(of_listener) = listeners.get_mut(listener) else { return queue.new_client() };
        if of_listener.len() <= conn {
            of_listener.resize_with(conn + 1, || None);
        }
        match of_listener.get_mut(conn) {
            Some(Some((known, share))) if *known == epoch => share.clone(),
            Some(slot) => slot.insert((epoch, queue.new_client())).1.clone(),
            None => queue.new_client(),
        }
    }
}
