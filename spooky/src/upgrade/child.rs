//! The side of the new process: what it inherits, and the point at which it takes over.

use super::message::{Inheritance, Ready, read_go};
use crate::start_error::StartError;
use spooky_net::inherit::adopt;
use std::{
    io::{self, BufReader, Write as _},
    os::unix::{net::UnixStream, process::parent_id},
};

/// Environment variable of the new process: the descriptor of the channel to the old one, and the id of the old one. The id
/// makes the variable meaningless for programs that the new process starts.
pub(crate) const VARIABLE: &str = "SPOOKY_UPGRADE";

/// The channel to the old process. If it is dropped, the upgrade has failed, and the old process goes on.
#[derive(Debug)]
pub(crate) struct Channel(BufReader<UnixStream>);

/// Returns what the process that has started this one passes on; `None` if this is no upgrade. Must be called before the
/// first thread is started.
pub(crate) fn inherit() -> io::Result<Option<(Inheritance, Channel)>> {
    let Some(value) = std::env::var(VARIABLE).ok() else { return Ok(None) };
    let mut numbers = value.split(' ').map(|number| number.parse::<u32>().ok());
    let (Some(Some(channel)), Some(Some(parent))) = (numbers.next(), numbers.next()) else { return Ok(None) };
    if parent != parent_id() {
        return Ok(None);
    }
    let channel = i32::try_from(channel).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut channel = BufReader::new(UnixStream::from(adopt(channel)?));
    let inheritance = Inheritance::read(&mut channel)?;
    Ok(Some((inheritance, Channel(channel))))
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
