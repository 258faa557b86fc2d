//! The processes that this one has replaced and that still drain, as one worker sees them: datagrams of their connections are
//! passed on to them.

use spooky_net::{
    forward::{ForwardSender, Gone, is_read},
    steer::{ProcessNumber, worker_of},
    udp::Datagram,
};
use spooky_telemetry::limited;
use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Instant,
};

/// The sockets to an earlier process, one for each of its workers.
#[derive(Clone, Debug)]
pub(crate) struct PreviousSockets {
    pub(crate) process: ProcessNumber,
    pub(crate) workers: Vec<Arc<OwnedFd>>,
}

impl PreviousSockets {
    /// Returns whether a worker of that process still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.workers.iter().any(|socket| is_read(socket.as_fd()))
    }
}

/// Senders to all earlier processes.
#[derive(Debug)]
pub(crate) struct PreviousProcesses(Vec<PreviousProcess>);

#[derive(Debug)]
struct PreviousProcess {
    number: ProcessNumber,
    /// `None` for a worker that has ended.
    workers: Vec<Option<ForwardSender>>,
}

impl PreviousProcesses {
    /// Returns `None` if there are no earlier processes, which is the usual case.
    pub(crate) fn new(sockets: &[PreviousSockets]) -> Option<Box<Self>> {
        let running = sockets.iter().filter(|sockets| sockets.is_running());
        let processes = running.map(|sockets| PreviousProcess {
            number: sockets.process,
            workers: sockets.workers.iter().map(|socket| Some(ForwardSender::new(socket.clone()))).collect(),
        });
        let processes: Vec<_> = processes.collect();
        (!processes.is_empty()).then(|| Box::new(Self(processes)))
    }

    /// Passes a datagram of a listener on if it belongs to a connection of an earlier process. Returns false if it does not, or
    /// if that process has ended.
    pub(crate) fn forward(&mut self, listener: usize, datagram: &Datagram, now: Instant) -> bool {
        let Some(number) = ProcessNumber::of_packet(&datagram.data) else { return false };
        self.send(number, listener, datagram, now)
    }

    /// Returns whether an Initial packet may belong to an earlier process. Only whether it can be decrypted here shows that.
    pub(crate) fn may_own_initial(&self, packet: &[u8]) -> bool {
        let number = ProcessNumber::of_initial(packet);
        number.is_some_and(|number| self.0.iter().any(|process| process.number == number))
    }

    /// Passes on an Initial packet that cannot be decrypted here.
    pub(crate) fn forward_initial(&mut self, listener: usize, datagram: &Datagram, now: Instant) {
        if let Some(number) = ProcessNumber::of_initial(&datagram.data) {
            self.send(number, listener, datagram, now);
        }
    }

    fn send(&mut self, number: ProcessNumber, listener: usize, datagram: &Datagram, now: Instant) -> bool {
        let Some(process) = self.0.iter_mut().find(|process| process.number == number) else { return false };
        let worker = worker_of(&datagram.data, process.workers.len());
        let Some(slot) = process.workers.get_mut(worker) else { return false };
        let Some(sender) = slot else { return false };
        if sender.push(listener, datagram, now) == Err(Gone) {
            *slot = None;
            return false;
        }
        true
    }

    /// Sends what was passed on in this turn. Returns false if all earlier processes have ended.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        for process in &mut self.0 {
            for slot in &mut process.workers {
                let Some(sender) = slot else { continue };
                let is_gone = sender.flush(now) == Err(Gone);
                let dropped = sender.take_dropped();
                if dropped > 0 {
                    limited!(
                        WARN,
                        now,
                        "Upgrade: an earlier process does not read what is passed on, dropped={dropped}"
                    );
                }
                if is_gone {
                    *slot = None;
                }
            }
        }
        self.0.retain(|process| process.workers.iter().any(Option::is_some));
        !self.0.is_empty()
    }

    /// When [`PreviousProcesses::flush`] must be called again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.senders().filter_map(ForwardSender::deadline).min()
    }

    fn senders(&self) -> impl Iterator<Item = &ForwardSender> {
        self.0.iter().flat_map(|process| process.workers.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use spooky_net::forward::pair;

    fn short(worker: u8, process: u8) -> Datagram {
        let remote = ([127, 0, 0, 1], 4433).into();
        let data = BytesMut::from(&[0x41, worker, process, 9, 9][..]);
        Datagram { remote, local_ip: None, ecn: None, stride: data.len(), data }
    }

    #[test]
    fn only_packets_of_running_processes_are_passed_on() {
        let now = Instant::now();
        let (pairs, others) = ([pair().unwrap(), pair().unwrap()], [pair().unwrap(), pair().unwrap()]);
        let sockets = |pairs: &[(OwnedFd, OwnedFd)], number| PreviousSockets {
            process: ProcessNumber::new(number),
            workers: pairs.iter().map(|(sender, _)| Arc::new(sender.try_clone().unwrap())).collect(),
        };
        let all = [sockets(&pairs, 3), sockets(&others, 4)];
        drop(others);
        assert_eq!(all.each_ref().map(PreviousSockets::is_running), [true, false]);
        assert!(PreviousProcesses::new(&all[1..]).is_none());
        let mut previous = PreviousProcesses::new(&all).unwrap();
        assert!(previous.forward(0, &short(0, 3), now) && previous.forward(0, &short(5, 0x13), now));
        assert!(!previous.forward(0, &short(0, 4), now), "it has ended");
        assert!(!previous.forward(0, &short(0, 0), now), "an unknown process");
        let initial = [0xc3, 0, 0, 0, 1, 8, 1, 3, 3];
        assert!(previous.may_own_initial(&initial) && !previous.may_own_initial(&[0xc3, 0, 0, 0, 1, 8, 1, 4, 3]));
        assert!(previous.flush(now));
        // One worker ends, then the other one.
        let [first, second] = pairs;
        drop(first);
        previous.forward(0, &short(0, 3), now);
        assert!(previous.flush(now), "the other worker runs");
        assert!(!previous.forward(0, &short(0, 3), now) && previous.forward(0, &short(1, 3), now));
        drop(second);
        assert!(!previous.flush(now));
    }
}
