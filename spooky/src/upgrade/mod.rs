//! Replaces the running process by a new one that takes over its sockets (docs/operate/reload-upgrade.md).
//!
//! The old process starts its program again ([`parent`]), passes all listening sockets on by `execve` and describes them in a
//! [`message`]. The new process ([`child`]) binds with them, says that it is ready, and waits. The old process then stops
//! reading from the sockets, tells the new one to go on, and drains. From then on the new process reads all datagrams; it
//! passes those of older connections on, each process having its own number in its connection ids ([`handover`], [`previous`]).

pub(crate) mod child;
pub(crate) mod handover;
pub(crate) mod message;
pub(crate) mod parent;
pub(crate) mod previous;
