//! Dropping of root privileges: groups, group, user and capabilities of every thread, verified afterwards.
//!
//! This file owns the order of the system calls. The caller chooses the account and the capabilities that stay.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use libc::c_int;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{self, Gid, Group, Uid, User};

/// A capability that may stay permitted after the drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Read files and search directories whatever their mode (`CAP_DAC_READ_SEARCH`).
    ReadSearch,
    /// Bind ports below 1024 (`CAP_NET_BIND_SERVICE`).
    BindService,
}

impl Capability {
    /// Returns its bit in the kernel's sets (`linux/capability.h`).
    const fn bit(self) -> u64 {
        match self {
            Self::ReadSearch => 1 << 2,
            Self::BindService => 1 << 10,
        }
    }
}

/// The account that the process switches to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    uid: Uid,
    gid: Gid,
    user: String,
    group: String,
}

impl Account {
    /// Looks up both names. With `or_own_group`, the user's own group replaces a group that does not exist.
    pub fn find(user: &str, group: &str, or_own_group: bool) -> Result<Self, DropError> {
        let missing_user = || DropError::NoUser(user.to_owned());
        let found = User::from_name(user).ok().flatten().ok_or_else(missing_user)?;
        let (gid, group) = match Group::from_name(group).ok().flatten() {
            Some(named) => (named.gid, named.name),
            None if or_own_group => {
                let own = Group::from_gid(found.gid).ok().flatten();
                (found.gid, own.map_or_else(|| found.gid.to_string(), |own| own.name))
            }
            None => return Err(DropError::NoGroup(group.to_owned())),
        };
        Ok(Self { uid: found.uid, gid, user: found.name, group })
    }

    /// Returns the numbers of the user and the group.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Returns the name of the user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the name of the group.
    pub fn group(&self) -> &str {
        &self.group
    }
}

/// Why privileges could not be dropped. The process must then exit, because some may be gone already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropError {
    /// The user does not exist.
    NoUser(String),
    /// The group does not exist.
    NoGroup(String),
    /// Clearing the supplementary groups failed.
    Groups(Errno),
    /// Changing the group failed.
    Group(String, Errno),
    /// Changing the user failed.
    User(String, Errno),
    /// Changing the capabilities failed.
    Capabilities(Errno),
    /// All calls succeeded, but the process is still root or can become root again.
    StillRoot,
}

impl fmt::Display for DropError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(user) => write!(out, "user '{user}' not found"),
            Self::NoGroup(group) => write!(out, "group '{group}' not found"),
            Self::Groups(error) => write!(out, "failed to clear supplementary groups: {}", error.desc()),
            Self::Group(group, error) => write!(out, "failed to drop group privileges to '{group}': {}", error.desc()),
            Self::User(user, error) => write!(out, "failed to drop user privileges to '{user}': {}", error.desc()),
            Self::Capabilities(error) => write!(out, "failed to reduce capabilities: {}", error.desc()),
            Self::StillRoot => out.write_str("privilege drop verification failed: still running as root"),
        }
    }
}

impl std::error::Error for DropError {}

/// Returns whether the process runs as root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Sets `no_new_privs`: the calling thread, and every thread and process that it starts, cannot gain privileges by
/// `execve`. Called before the first thread starts, it applies to the whole process. [`drop_root`] still works.
pub fn forbid_new_privileges() -> io::Result<()> {
    prctl::set_no_new_privs().map_err(io::Error::from)
}

/// Switches the root process to `account`: clears the supplementary groups, changes group and user of all threads, and
/// verifies that root cannot be regained.
///
/// `retained` is called as the new user, before the capabilities are cleared. It returns those that stay permitted for
/// this thread and the threads that it starts; they are not effective until [`raise_retained`]. Capabilities that the
/// process did not have are skipped. Returns those that were retained.
pub fn drop_root(account: &Account, retained: impl FnOnce() -> Vec<Capability>) -> Result<Vec<Capability>, DropError> {
    // Without it, changing the user would clear the permitted set before `retained` is called. Other threads lose
    // theirs.
    prctl::set_keepcaps(true).map_err(DropError::Capabilities)?;
    unistd::setgroups(&[]).map_err(DropError::Groups)?;
    unistd::setresgid(account.gid, account.gid, account.gid)
        .map_err(|error| DropError::Group(account.group.clone(), error))?;
    unistd::setresuid(account.uid, account.uid, account.uid)
        .map_err(|error| DropError::User(account.user.clone(), error))?;
    prctl::set_keepcaps(false).map_err(DropError::Capabilities)?;
    // If the account is root, the kernel leaves all of them effective.
    let available = capabilities().map_err(DropError::Capabilities)?.permitted;
    set_capabilities(Sets::idle(available)).map_err(DropError::Capabilities)?;
    let retained: Vec<_> = retained().into_iter().filter(|capability| available & capability.bit() != 0).collect();
    let permitted = retained.iter().fold(0, |bits, capability| bits | capability.bit());
    set_capabilities(Sets::idle(permitted)).map_err(DropError::Capabilities)?;
    verify(account, permitted)?;
    Ok(retained)
}

/// Makes capabilities effective for its thread until it is dropped.
#[derive(Debug)]
pub struct RaisedCapabilities {
    before: Sets,
    _of_this_thread: PhantomData<*const ()>,
}

/// Makes the capabilities that [`drop_root`] retained effective for the calling thread, for the files and ports of a
/// reload.
///
/// Errors: those of the system; the thread's capabilities are then unchanged.
pub fn raise_retained() -> io::Result<RaisedCapabilities> {
    let before = capabilities()?;
    set_capabilities(Sets { effective: before.permitted, ..before })?;
    Ok(RaisedCapabilities { before, _of_this_thread: PhantomData })
}

impl Drop for RaisedCapabilities {
    fn drop(&mut self) {
        // Dropping capabilities cannot fail.
        let _ = set_capabilities(self.before);
    }
}

/// Makes the capabilities of a thread pass to the programs that it starts, until it is dropped.
#[derive(Debug)]
pub struct PassedOn {
    before: Sets,
    _of_this_thread: PhantomData<*const ()>,
}

/// Makes the programs that the calling thread starts inherit the capabilities that [`drop_root`] retained, and makes these
/// effective, so that the program is found in a directory that only root may search. Without it a process that replaces this
/// one could not read the files and bind the ports of a reload.
///
/// Errors: those of the system; nothing is then passed on.
pub fn pass_on_retained() -> io::Result<PassedOn> {
    let before = capabilities()?;
    set_capabilities(Sets { effective: before.permitted, inheritable: before.permitted, ..before })?;
    let passed = PassedOn { before, _of_this_thread: PhantomData };
    for capability in (0..u64::BITS).filter(|number| before.permitted & (1 << number) != 0) {
        set_ambient(capability)?;
    }
    Ok(passed)
}

impl Drop for PassedOn {
    fn drop(&mut self) {
        // What is not inheritable is not ambient either. Dropping capabilities cannot fail.
        let _ = set_capabilities(self.before);
    }
}

/// Makes the capabilities that a process has got by [`pass_on_retained`] what they were in the process that has started it:
/// permitted for this thread and those that it starts, and not effective until [`raise_retained`]. Called before the first
/// thread starts, it applies to the whole process.
pub fn lower_inherited() -> io::Result<()> {
    let permitted = capabilities()?.permitted;
    set_capabilities(Sets::idle(permitted)).map_err(io::Error::from)
}

/// Keeps only these of the capabilities that a process has got by [`pass_on_retained`], for this thread and those that it starts,
/// and verifies that the process is not root. Returns those that were kept.
pub fn keep_inherited(retained: &[Capability]) -> Result<Vec<Capability>, DropError> {
    let available = capabilities().map_err(DropError::Capabilities)?.permitted;
    let retained: Vec<_> = retained.iter().copied().filter(|capability| available & capability.bit() != 0).collect();
    let permitted = retained.iter().fold(0, |bits, capability| bits | capability.bit());
    set_capabilities(Sets::idle(permitted)).map_err(DropError::Capabilities)?;
    let is_restrained =
        capabilities() == Ok(Sets::idle(permitted)) && !is_root() && unistd::setuid(Uid::from_raw(0)).is_err();
    if is_restrained { Ok(retained) } else { Err(DropError::StillRoot) }
}

/// Gives up all capabilities of the calling thread, and of the threads that it starts.
pub fn give_up_capabilities() -> io::Result<()> {
    set_capabilities(Sets::idle(0)).map_err(io::Error::from)
}

/// Returns the numbers of the user and the group that the process runs as.
pub fn current_ids() -> (u32, u32) {
    (Uid::effective().as_raw(), Gid::effective().as_raw())
}

fn set_ambient(capability: u32) -> Result<(), Errno> {
    let unused: libc::c_ulong = 0;
    let number = libc::c_ulong::from(capability);
    // SAFETY: this request takes integers only, and changes nothing but the capabilities of the calling thread.
    let result = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, unused, unused) };
    Errno::result(result).map(drop)
}

/// Compares the ids and capabilities with the requested ones, and tries to become root again.
fn verify(account: &Account, permitted: u64) -> Result<(), DropError> {
    let (uid, gid) = (account.uid, account.gid);
    let has_ids = unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3])
        && unistd::getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3])
        && unistd::getgroups().is_ok_and(|groups| groups.is_empty());
    let has_capabilities = capabilities() == Ok(Sets::idle(permitted));
    let is_restrained = has_ids && has_capabilities && !uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_err();
    if is_restrained { Ok(()) } else { Err(DropError::StillRoot) }
}

/// The capability sets of a thread. One that is not inheritable is not ambient either, so a process that was started with
/// ambient capabilities loses them with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sets {
    permitted: u64,
    effective: u64,
    inheritable: u64,
}

impl Sets {
    /// Capabilities that are permitted, but not in effect and not passed on.
    const fn idle(permitted: u64) -> Self {
        Self { permitted, effective: 0, inheritable: 0 }
    }
}

/// `struct __user_cap_header_struct` of `linux/capability.h`.
#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

impl Header {
    /// Selects the calling thread, in the version with 64 bits per set (`_LINUX_CAPABILITY_VERSION_3`).
    const fn own() -> Self {
        Self { version: 0x2008_0522, pid: 0 }
    }
}

/// `struct __user_cap_data_struct`: 32 bits of each set. Version 3 uses two of them, low bits first.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn capabilities() -> Result<Sets, Errno> {
    let (mut header, mut data) = (Header::own(), [Data::default(); 2]);
    // SAFETY: both pointers are to live locals of the layout and size that version 3 requires. (Miri does not support
    // capget.)
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    Errno::result(result)?;
    let [low, high] = data;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    Ok(Sets {
        permitted: join(low.permitted, high.permitted),
        effective: join(low.effective, high.effective),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Sets them for the calling thread. Capabilities can only be removed.
fn set_capabilities(sets: Sets) -> Result<(), Errno> {
    let part = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let (mut header, data) = (Header::own(), [part(0), part(32)]);
    // SAFETY: both pointers are to live locals of the layout and size that version 3 requires; the kernel only reads
    // `data`. (Miri does not support capset.)
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_missing_ones_are_named() {
        let root = Account::find("root", "root", false).unwrap();
        assert_eq!((root.user(), root.group(), root.uid.as_raw(), root.gid.as_raw()), ("root", "root", 0, 0));
        let own = Account::find("root", "no-such-group", true).unwrap();
        assert_eq!((own.group(), own.gid.as_raw()), ("root", 0));
        let texts = [("no-such-user", "root", "user 'no-such-user' not found")].into_iter().chain([(
            "root",
            "no-such-group",
            "group 'no-such-group' not found",
        )]);
        for (user, group, text) in texts {
            assert_eq!(Account::find(user, group, false).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn errors_name_the_step_and_the_account() {
        for (error, text) in [
            (DropError::Groups(Errno::EPERM), "failed to clear supplementary groups: Operation not permitted"),
            (
                DropError::Group("web".to_owned(), Errno::EPERM),
                "failed to drop group privileges to 'web': Operation not permitted",
            ),
            (
                DropError::User("web".to_owned(), Errno::EPERM),
                "failed to drop user privileges to 'web': Operation not permitted",
            ),
            (DropError::StillRoot, "privilege drop verification failed: still running as root"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    /// Runs in its own thread, because the thread loses capabilities.
    #[test]
    fn retained_capabilities_are_effective_only_while_raised() {
        let seen = std::thread::spawn(|| {
            let retained = capabilities().unwrap().permitted & Capability::BindService.bit();
            set_capabilities(Sets::idle(retained)).unwrap();
            let raised = raise_retained().unwrap();
            let during = capabilities().unwrap();
            drop(raised);
            (retained, during, capabilities().unwrap())
        });
        let (retained, during, after) = seen.join().unwrap();
        assert_eq!((during, after), (Sets { effective: retained, ..Sets::idle(retained) }, Sets::idle(retained)));
    }

    /// Runs in its own thread, because the thread loses capabilities. A program of root has all capabilities in any case, so
    /// this shows only that they are passed on, and no longer than asked for.
    #[test]
    fn capabilities_are_passed_on_while_asked_for() {
        let thread = std::thread::spawn(|| {
            let retained = capabilities().unwrap().permitted & Capability::BindService.bit();
            set_capabilities(Sets::idle(retained)).unwrap();
            let ambient = || {
                let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
                let line = status.lines().find_map(|line| line.strip_prefix("CapAmb:")).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            };
            let passed = pass_on_retained().unwrap();
            assert_eq!(ambient(), retained);
            drop(passed);
            assert_eq!((ambient(), capabilities().unwrap()), (0, Sets::idle(retained)));
            lower_inherited().unwrap();
            assert_eq!(capabilities().unwrap(), Sets::idle(retained));
            give_up_capabilities().unwrap();
            assert_eq!(capabilities().unwrap(), Sets::idle(0));
        });
        thread.join().unwrap();
    }

    /// Runs in its own thread, because the thread loses capabilities.
    #[test]
    fn capabilities_can_be_given_up_and_do_not_come_back() {
        let sets = std::thread::spawn(|| {
            let before = capabilities().unwrap();
            let less = Sets::idle(before.permitted & Capability::BindService.bit());
            set_capabilities(less).unwrap();
            let after = capabilities().unwrap();
            let raised = set_capabilities(Sets::idle(less.permitted | Capability::ReadSearch.bit()));
            (less, after, raised)
        });
        let (less, after, raised) = sets.join().unwrap();
        assert_eq!((after, raised), (less, Err(Errno::EPERM)));
    }
}
