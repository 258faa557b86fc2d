//! The share of the limits that each client connection uses.

use crate::client_side::ClientSide;
use spooky_lb::admit::{ClientShare, Queue};

/// The shares by listener and connection number, with the epoch of the connection that has the number now.
#[derive(Default)]
pub(super) struct ClientShares(Vec<Vec<Option<(u32, ClientShare)>>>);

impl ClientShares {
    /// Returns the share of a stream's connection; creates it if needed.
    pub(super) fn of(&mut self, client: ClientSide, queue: &Queue) -> ClientShare {
        self.of_connection(client.connection(), queue)
    }

    fn of_connection(&mut self, (listener, conn, epoch): (usize, usize, u32), queue: &Queue) -> ClientShare {
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

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_lb::{
        admit::{Admission, GlobalLimitOptions, GlobalLimits, RouteLimitOptions, RouteLimits},
        time::Nanos,
    };

    #[test]
    fn a_connection_does_not_inherit_the_share_of_an_earlier_one_with_its_number() {
        let global = GlobalLimits::new(1, &GlobalLimitOptions::default());
        let limits = RouteLimits::new(global.clone(), 1, &RouteLimitOptions::default());
        let (mut queue, mut shares) = (Queue::new(global, 0), ClientShares::default());
        let share = shares.of_connection((1, 2, 7), &queue);
        let granted = queue.admit(&limits, Some(&share), Nanos::NEVER, Nanos::ZERO);
        assert!(matches!(granted, Admission::Granted(_)));
        let mut held = |connection| shares.of_connection(connection, &queue).held();
        assert_eq!([(1, 2, 7), (0, 2, 7), (1, 1, 7), (1, 3, 7)].map(&mut held), [1, 0, 0, 0]);
        assert_eq!((held((1, 2, 8)), held((1, 2, 8))), (0, 0), "the number has another connection now");
    }
}
