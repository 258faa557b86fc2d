//! A small set of backends that needs no allocation.

/// Capacity of the set; an exchange rarely has more than three attempts.
const MAX_BACKENDS: usize = 8;

/// Indices of backends in their pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackendSet {
    members: [u32; MAX_BACKENDS],
    count: usize,
}

impl BackendSet {
    /// Adds a backend. Returns false if it is in the set already, or if the set is full.
    pub(super) fn insert(&mut self, backend: usize) -> bool {
        let Ok(backend) = u32::try_from(backend) else { return false };
        if self.members.iter().take(self.count).any(|&member| member == backend) {
            return false;
        }
        let Some(slot) = self.members.get_mut(self.count) else { return false };
        *slot = backend;
        self.count += 1;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        self.members.into_iter().take(self.count).map(|member| member as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_is_added_once_and_a_full_set_takes_no_more() {
        let mut set = BackendSet::default();
        assert!(set.is_empty() && set.insert(3) && !set.insert(3) && !set.is_empty());
        let added = (10..30).filter(|&backend| set.insert(backend)).count();
        assert_eq!((added, set.iter().count()), (MAX_BACKENDS - 1, MAX_BACKENDS));
    }
}
