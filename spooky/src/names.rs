//! The resolver of the names of backends, on a thread of its own, so that no worker waits for DNS.

use crate::{
    control::{Control, SeenVersion},
    restart::{RestartBackoff, RunFailure, supervise},
};
use spooky_transport::{NameEvent, NameTable, Resolver, SystemFiles};
use std::{fmt, future::poll_fn, io, net::IpAddr, sync::Arc, task::Poll, time::Duration};
use tokio::runtime::Builder;

/// Resolves names until a drain. Restarts the resolver after a panic; the addresses that are known stay in use meanwhile.
pub(crate) fn run(control: &Control<()>, names: &Arc<NameTable>) {
    let report = |end, pause: Duration| {
        let pause = pause.as_millis();
        match end {
            RunFailure::Error(error) => {
                tracing::error!("Names of backends are not resolved: {error}; restarting in {pause} ms");
            }
            RunFailure::Panic => tracing::error!("Background task 'resolver' panicked; restarting in {pause} ms"),
        }
    };
    supervise(control, RestartBackoff::new(), |_| run_once(control, names), report);
}

fn run_once(control: &Control<()>, names: &Arc<NameTable>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut seen = SeenVersion::default();
        let drain = poll_fn(|cx| match control.poll(&mut seen, cx) {
            Some(state) if state.drain.is_some() => Poll::Ready(()),
            _ => Poll::Pending,
        });
        tokio::select! {
            () = Resolver::new(names.clone(), SystemFiles::default()).run(log) => {}
            () = drain => {}
        }
        Ok(())
    })
}

fn log(event: NameEvent) {
    match event {
        NameEvent::Changed { host, addresses, before } if before.is_empty() => {
            tracing::debug!("Backend name {host} resolved addresses={}", List(&addresses));
        }
        NameEvent::Changed { host, addresses, before } => {
            let (addresses, before) = (List(&addresses), List(&before));
            tracing::info!("Backend name {host} has other addresses addresses={addresses} before={before}");
        }
        NameEvent::Failed { host, error, kept } => {
            tracing::warn!("Backend name {host} does not resolve: {error} kept_addresses={kept}");
        }
        NameEvent::Recovered { host } => tracing::info!("Backend name {host} resolves again"),
    }
}

/// Formats addresses as a list without spaces.
struct List<'a>(&'a [IpAddr]);

impl fmt::Display for List<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(out, "{separator}{address}")?;
        }
        Ok(())
    }
}
