//! The side of the new process: what it inherits, and the point at which it takes over.

use super::message::{Inheritance, Ready, read_go};
use crate::start_error::StartError;
use rustix::net::sockopt::socket_peercred;
use spooky_net::inherit::adopt;
use std::{
    io::{self, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

/// Environment variable of the new process: the descriptor of the channel to the old one, and the id of the old one. In programs
/// that the new process starts, the descriptor is no such channel.
pub(crate) const VARIABLE: &str = "SPOOKY_UPGRADE";

/// The channel to the old process. If it is dropped, the upgrade has failed, and the old process goes on.
#[derive(Debug)]
pub(crate) struct Channel(BufReader<UnixStream>);

/// Returns what the process that has started this one passes on; `None` if this is no upgrade. Must be called before the
/// first thread is started.
pub(crate) fn inherit() -> io::Result<Option<(Inheritance, Channel)>> {
    let Some(value) = std::env::var(VARIABLE).ok() else { return Ok(None) };
    let mut numbers = value.split(' ').map(|number| number.parse::<u32>().ok());
    let (Some(Some(channel)), Some(Some(old))) = (numbers.next(), numbers.next()) else { return Ok(None) };
    let Some(channel) = i32::try_from(channel).ok().and_then(|channel| adopt(channel).ok()) else { return Ok(None) };
    if !is_from(&channel, old) {
        return Ok(None);
    }
    let mut channel = BufReader::new(UnixStream::from(channel));
    let inheritance = Inheritance::read(&mut channel)?;
    Ok(Some((inheritance, Channel(channel))))
}

/// Returns whether a descriptor is a pair of sockets that the process with this id has made.
fn is_from(descriptor: &OwnedFd, id: u32) -> bool {
    let owner = socket_peercred(descriptor).map(|credentials| credentials.pid.as_raw_nonzero().get());
    owner.is_ok_and(|owner| u32::try_from(owner) == Ok(id))
}

impl Channel {
    /// Tells the old process that this one is ready, and waits until it reads nothing any more.
    pub(crate) fn take_over(mut self, ready: &Ready) -> io::Result<()> {
        self.0.get_mut().write_all(ready.to_string().as_bytes())?;
        read_go(&mut self.0)
    }
}

/// Tells the process that this one replaces that it is ready, and waits until that process reads nothing any more.
pub(crate) fn take_over(channel: Channel, ready: &Ready) -> Result<(), StartError> {
    channel.take_over(ready).map_err(|error| {
        StartError(format!("Upgrade cancelled: the process that has started this one has ended or given up: {error}"))
    })?;
    tracing::info!("Upgrade: this process serves from here on");
    Ok(())
}
