//! What the control API shows of the process, and what it makes the process do.
//!
//! `spooky_control` serves HTTP; [`ProcessAdmin`] answers from the [`State`](crate::state::State) and the snapshot in effect.
//! Reloads run on the main thread, one after another with those of signals; they are sent there as a [`Command`].

mod access;
mod backends;
mod command;
mod config;
mod history;
mod process;
mod runtime;
mod state;

pub(crate) use access::Access;
pub(crate) use command::{Command, CommandKind, Commands, commands};
pub(crate) use config::problem_list;
pub(crate) use history::{Cause, ReloadKind, ReloadRecord};
pub(crate) use process::{ProcessAdmin, sample_forever};
pub(crate) use state::AdminState;
