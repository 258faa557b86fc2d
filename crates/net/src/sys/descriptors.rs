//! The limit on the file descriptors of the process.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to `wanted`, or as far as the process is allowed to. Never lowers it. Returns the limit that applies.
///
/// Many systems start processes with a limit of 1024, and let them raise it: programs that use `select` cannot have more.
pub fn raise_limit(wanted: u64) -> io::Result<u64> {
    let (current, maximum) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = wanted.min(maximum);
    if raised <= current {
        return Ok(current);
    }
    setrlimit(Resource::RLIMIT_NOFILE, raised, maximum)?;
    Ok(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_as_far_as_allowed_and_never_falls() {
        let (_, maximum) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, maximum.min(500), maximum).unwrap();
        assert_eq!(raise_limit(10).unwrap(), maximum.min(500));
        assert_eq!(raise_limit(510).unwrap(), maximum.min(510));
        assert_eq!(raise_limit(u64::MAX).unwrap(), maximum);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (maximum, maximum));
    }
}
