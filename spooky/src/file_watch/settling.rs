//! Decides when files that change have been left alone long enough to be read. Pure: states and times are arguments.

use std::{
    mem,
    time::{Duration, Instant},
};

/// What to do after the files were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing has changed.
    Wait,
    /// Something has changed; look again at this time.
    LookAt(Instant),
    /// What has changed must be read now.
    Read,
}

/// The state of a set of files over time. `S` is compared only.
#[derive(Debug)]
pub(super) struct Settling<S> {
    /// The state that was read last.
    read: Option<S>,
    /// Another state, and since when it is unchanged.
    pending: Option<(S, Instant)>,
}

impl<S: PartialEq> Settling<S> {
    /// `read` is the state that needs no reading; if it is `None`, the first state is read too.
    pub(super) fn new(read: Option<S>) -> Self {
        Self { read, pending: None }
    }

    /// Takes the state that was found at this time. A change is read when the state has been the same for `quiet`.
    pub(super) fn found(&mut self, state: S, now: Instant, quiet: Duration) -> Decision {
        if self.read.as_ref() == Some(&state) {
            self.pending = None;
            return Decision::Wait;
        }
        match &self.pending {
            Some((pending, since)) if *pending == state => {
                let at = *since + quiet;
                if now < at {
                    return Decision::LookAt(at);
                }
                self.read = mem::take(&mut self.pending).map(|(state, _)| state);
                Decision::Read
            }
            Some(_) | None => {
                self.pending = Some((state, now));
                Decision::LookAt(now + quiet)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(500);

    #[test]
    fn a_change_is_read_once_when_the_files_are_quiet() {
        let (mut settling, start) = (Settling::new(None), Instant::now());
        let mut found = |state, ms| settling.found(state, start + Duration::from_millis(ms), QUIET);
        let at = |ms| Decision::LookAt(start + Duration::from_millis(ms));
        assert_eq!(found('a', 0), at(500), "the first state");
        assert_eq!(found('a', 499), at(500));
        assert_eq!(found('a', 500), Decision::Read);
        assert_eq!(found('a', 501), Decision::Wait);
        assert_eq!(found('b', 1000), at(1500));
        assert_eq!(found('c', 1400), at(1900), "another change begins anew");
        assert_eq!(found('c', 1500), at(1900));
        assert_eq!(found('c', 2500), Decision::Read, "late");
        assert_eq!(found('c', 9000), Decision::Wait);
    }

    #[test]
    fn a_change_that_is_undone_is_not_read() {
        let (mut settling, start) = (Settling::new(Some('a')), Instant::now());
        let mut found = |state, ms| settling.found(state, start + Duration::from_millis(ms), QUIET);
        assert_eq!(found('a', 0), Decision::Wait);
        assert_ne!(found('b', 600), Decision::Wait);
        assert_eq!(found('a', 700), Decision::Wait);
        assert_eq!(found('b', 1200), Decision::LookAt(start + Duration::from_millis(1700)));
    }
}
