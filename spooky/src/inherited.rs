//! Sockets that were open when this process was started: from the service manager, or from the process that it replaces.

use crate::{
    start_error::StartError,
    upgrade::{
        child::{self, Channel},
        message::{Inheritance, PassedSockets, Ready, Restrictions, SocketRole},
        previous::PreviousSockets,
    },
    worker_layout::WorkerLayout,
};
use spooky_edge::QuicKeys;
use spooky_net::{
    inherit::{SocketKind, adopt, identify},
    steer::ProcessNumber,
};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// What this process was given at its start. Empty for a process that was started by hand.
#[derive(Default)]
pub(crate) struct Inherited {
    pub(crate) sockets: InheritedSockets,
    /// The number of workers, if it is given by the sockets.
    pub(crate) layout: Option<WorkerLayout>,
    pub(crate) process: ProcessNumber,
    pub(crate) quic_keys: Option<QuicKeys>,
    pub(crate) previous: Vec<PreviousSockets>,
    pub(crate) restrictions: Restrictions,
    /// The channel to the process that this one replaces.
    pub(crate) channel: Option<Channel>,
}

/// The sockets, in groups of the same protocol and address.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets {
    groups: Vec<Group>,
    /// The number of the next new listener.
    pub(crate) next_listener: usize,
}

#[derive(Debug)]
struct Group {
    kind: SocketKind,
    address: SocketAddr,
    sockets: Vec<OwnedFd>,
    /// What they are for in the process that this one replaces.
    role: Option<(usize, SocketRole)>,
    is_steered: bool,
    is_claimed: AtomicBool,
}

/// The UDP sockets of a listener.
pub(crate) struct ClaimedUdp {
    pub(crate) sockets: Vec<Arc<OwnedFd>>,
    /// The number of the listener in the process that this one replaces.
    pub(crate) listener: Option<usize>,
    /// Whether the kernel delivers each packet to the socket of its owner. `None` if that must be set up.
    pub(crate) is_steered: Option<bool>,
}

impl Inherited {
    /// Takes what the environment names. Must be called before the first thread is started.
    pub(crate) fn from_environment() -> Result<Self, StartError> {
        let upgrade = |error: io::Error| StartError(format!("Failed to take over from the running process: {error}"));
        if let Some((inheritance, channel)) = child::inherit().map_err(upgrade)? {
            return Self::from_process(&inheritance, channel).map_err(upgrade);
        }
        let activation =
            |error: io::Error| StartError(format!("Failed to take sockets from the service manager: {error}"));
        let sockets = InheritedSockets::from_service_manager().map_err(activation)?;
        Ok(Self { sockets, ..Self::default() })
    }

    fn from_process(inheritance: &Inheritance, channel: Channel) -> io::Result<Self> {
        let mut sockets = InheritedSockets { groups: Vec::new(), next_listener: inheritance.next_listener };
        for PassedSockets { listener, role, is_steered, descriptors } in &inheritance.sockets {
            let adopted = descriptors.iter().map(|fd| adopt(*fd)).collect::<io::Result<Vec<_>>>()?;
            let first = adopted.first().ok_or(io::ErrorKind::InvalidData)?;
            let (kind, address) = identify(first.as_fd())?;
            sockets.groups.push(Group {
                kind,
                address,
                sockets: adopted,
                role: Some((*listener, *role)),
                is_steered: *is_steered,
                is_claimed: AtomicBool::new(false),
            });
        }
        let mut previous = Vec::new();
        for (process, descriptors) in &inheritance.previous {
            let workers = descriptors.iter().map(|fd| adopt(*fd).map(Arc::new)).collect::<io::Result<_>>()?;
            previous.push(PreviousSockets { process: *process, workers });
        }
        Ok(Self {
            sockets,
            layout: Some(inheritance.layout),
            process: inheritance.process,
            quic_keys: QuicKeys::import(&inheritance.quic_keys),
            previous,
            restrictions: inheritance.restrictions.clone(),
            channel: Some(channel),
        })
    }
}

impl InheritedSockets {
    /// Takes the sockets of socket activation.
    fn from_service_manager() -> io::Result<Self> {
        let mut sockets = Self::default();
        for (fd, name) in activated() {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("'{name}' (descriptor {fd}): {error}"));
            let socket = adopt(fd).map_err(named)?;
            let (kind, address) = identify(socket.as_fd()).map_err(named)?;
            sockets.add(kind, address, socket);
        }
        Ok(sockets)
    }

    fn add(&mut self, kind: SocketKind, address: SocketAddr, socket: OwnedFd) {
        let same = self.groups.iter_mut().find(|group| group.kind == kind && group.address == address);
        if let Some(group) = same {
            group.sockets.push(socket);
            return;
        }
        let (role, is_claimed) = (None, AtomicBool::new(false));
        self.groups.push(Group { kind, address, sockets: vec![socket], role, is_steered: false, is_claimed });
    }

    fn claim(&self, kind: SocketKind, address: SocketAddr) -> Option<&Group> {
        // A socket on `[::]` also receives what is sent to IPv4 addresses.
        let is_any = |group: &Group| address.ip().is_unspecified() && group.address.ip().is_unspecified();
        let mut of_port =
            self.groups.iter().filter(|group| group.kind == kind && group.address.port() == address.port());
        let exact = of_port.clone().find(|group| group.address == address);
        let group = exact.or_else(|| of_port.find(|group| is_any(group)))?;
        group.is_claimed.store(true, Relaxed);
        Some(group)
    }

    /// Returns the sockets on a UDP address, at most this many.
    pub(crate) fn claim_udp(&self, address: SocketAddr, count: u16) -> io::Result<Option<ClaimedUdp>> {
        let Some(group) = self.claim(SocketKind::Udp, address) else { return Ok(None) };
        let is_shared = group.sockets.len() < usize::from(count);
        let is_steered = match group.role {
            Some(_) => Some(group.is_steered),
            // The program counts on all sockets. Without it, packets are passed on to their owners.
            None if is_shared => Some(true),
            None => None,
        };
        let listener = group.role.map(|(listener, _)| listener);
        Ok(Some(ClaimedUdp { sockets: group.at_most(count)?, listener, is_steered }))
    }

    /// Returns the listening sockets on a TCP address, at most this many.
    pub(crate) fn claim_tcp(&self, address: SocketAddr, count: u16) -> io::Result<Option<Vec<Arc<OwnedFd>>>> {
        self.claim(SocketKind::Tcp, address).map(|group| group.at_most(count)).transpose()
    }

    /// Returns a listening socket on a TCP address that workers do not use.
    pub(crate) fn claim_one(&self, address: SocketAddr) -> io::Result<Option<OwnedFd>> {
        let socket = self.claim(SocketKind::Tcp, address).and_then(|group| group.sockets.first());
        socket.map(OwnedFd::try_clone).transpose()
    }

    /// Returns the claimed sockets of the process that this one replaces.
    pub(crate) fn ready(&self) -> Ready {
        let claimed = self.groups.iter().filter(|group| group.is_claimed.load(Relaxed));
        Ready { taken: claimed.filter_map(|group| group.role).collect() }
    }

    /// Closes all sockets; those in use were duplicated. Logs those that no listener uses.
    pub(crate) fn close(&mut self) {
        for group in self.groups.drain(..) {
            if !group.is_claimed.load(Relaxed) {
                let kind = if group.kind == SocketKind::Udp { "UDP" } else { "TCP" };
                tracing::warn!("Inherited socket {kind} {} is closed: no listener has this address", group.address);
            }
        }
    }
}

/// The first descriptor of socket activation.
const FIRST_ACTIVATED: RawFd = 3;

/// Returns the descriptors that `LISTEN_FDS` announces to this process, with their names.
fn activated() -> Vec<(RawFd, String)> {
    // `sd_notify::listen_fds` would mark them as opened by this process, which `adopt` refuses.
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id()));
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat_with(|| "unknown".to_owned()));
    (FIRST_ACTIVATED..).zip(names).take(count.unwrap_or_default() as usize).collect()
}

impl Group {
    /// Returns a descriptor of each socket, unless there are more than this. Clients of a socket that nobody reads would wait.
    fn at_most(&self, count: u16) -> io::Result<Vec<Arc<OwnedFd>>> {
        if self.sockets.len() > usize::from(count) {
            let text = format!("{} sockets were inherited for {count} workers", self.sockets.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.sockets.iter().map(|socket| socket.try_clone().map(Arc::new)).collect()
    }
}
