//! What each client connection holds of the limits.

use super::io::ClientSide;
use spooky_lb::admit::{ClientShare, Queue};

/// The shares of a worker's client connections: by listener and by number of the connection, with the epoch of the
/// connection that has the number now.
#[derive(Default)]
pub(super) struct ClientShares(Vec<Vec<Option<(u32, ClientShare)>>>);

impl ClientShares {
    /// The share of the connection that a client's stream belongs to. A new one is of this queue.
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
