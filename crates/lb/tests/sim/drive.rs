//! The exchanges of the simulated world: what the shell of the proxy does, with virtual hands.

use std::time::Duration;

use spooky_lb::admit::{Admission, Permit, Ticket, WaitPeriod, Wake};
use spooky_lb::attempt::{Attempts, Cx, FailureKind, Request, Sent, SlotId, Step};
use spooky_lb::balance::key;
use spooky_lb::outcome::{ErrorKind, Reason};
use spooky_lb::time::Nanos;

use crate::backend::Fate;
use crate::simulation::{CLIENTS, Event, Simulation, UPSTREAMS, WORKERS};

/// One attempt on its way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) serial: u32,
    pub(crate) address: String,
    pub(crate) fate: Fate,
    /// It passed a half-open circuit.
    pub(crate) probe: bool,
    /// It is the one trial of an unhealthy backend.
    pub(crate) trial: bool,
}

/// The last failure of an exchange that may be followed by a retry.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) kind: FailureKind,
    pub(crate) sent: Sent,
    pub(crate) address: String,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: u64,
    pub(crate) worker: usize,
    pub(crate) generation: usize,
    pub(crate) upstream: usize,
    pub(crate) method: &'static str,
    pub(crate) has_body: bool,
    pub(crate) permit: Option<Permit>,
    pub(crate) attempt: Attempts,
    /// Attempts that were started.
    pub(crate) started: u32,
    pub(crate) slots: [Option<Run>; 2],
    pub(crate) ticket: Option<Ticket>,
    pub(crate) since: Nanos,
    pub(crate) waited: Option<WaitPeriod>,
    pub(crate) failed: Option<Failed>,
    /// Backends that did not answer it in time.
    pub(crate) timed_out: Vec<String>,
    pub(crate) responding: Option<SlotId>,
    pub(crate) deadline: Nanos,
    pub(crate) armed: Nanos,
}

impl Exchange {
    /// The client connection that it is of.
    pub(crate) fn client(&self) -> (usize, usize) {
        (self.worker, self.id as usize % CLIENTS)
    }
}

impl Simulation {
    /// A request comes.
    pub(crate) fn arrive(&mut self) {
        let now = self.now();
        let (worker, upstream) = (self.rng.below(WORKERS as u64) as usize, self.rng.below(UPSTREAMS as u64) as usize);
        self.shadow.turns[worker] = true;
        let generation = self.snapshots.len() - 1;
        let (method, has_body) =
            [("GET", false), ("GET", false), ("POST", true), ("PUT", true)][self.rng.below(4) as usize];
        self.count += 1;
        let id = self.count;
        let key = key::hash(&self.rng.below(50).to_le_bytes());
        let request = Request { method: method.as_bytes(), has_body, key };
        let client = self.clients[worker][id as usize % CLIENTS].clone();
        let attempt = Attempts::new(&request, &self.snapshots[generation].upstreams[worker][upstream], now);
        let attempt = attempt.for_client(client.clone());
        self.shadow.totals.requests += 1;
        let mut exchange = Exchange {
            id,
            worker,
            generation,
            upstream,
            method,
            has_body,
            permit: None,
            attempt,
            started: 0,
            slots: [None, None],
            ticket: None,
            since: now,
            waited: None,
            failed: None,
            timed_out: Vec::new(),
            responding: None,
            deadline: now + Duration::from_secs(3),
            armed: Nanos::NEVER,
        };
        match self.queues[worker].admit(&self.scopes[upstream], Some(&client), exchange.deadline, now) {
            Admission::Granted(permit) => {
                exchange.permit = Some(permit);
                self.exchanges.insert(id, exchange);
                self.begin(id);
            }
            Admission::Queued(ticket) => {
                exchange.ticket = Some(ticket);
                self.exchanges.insert(id, exchange);
                self.shadow.totals.queued += 1;
            }
            Admission::Refused(reason) => return self.shadow.on_answer(reason),
        }
        if self.rng.below(100) < self.plan.abort_percent {
            let after = self.rng.below(200);
            self.schedule(after, Event::Abort { exchange: id });
        }
    }

    /// Permits are held: the first pick.
    fn begin(&mut self, id: u64) {
        let step = self.ask(id, Attempts::on_start);
        self.perform(id, step);
    }

    /// One question to the machine; the shadow looks before and after.
    fn ask(&mut self, id: u64, question: impl FnOnce(&mut Attempts, &mut Cx<'_>) -> Step) -> Step {
        let now = self.now();
        self.look(id);
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let upstream = &mut self.snapshots[exchange.generation].upstreams[exchange.worker][exchange.upstream];
        question(&mut exchange.attempt, &mut Cx { now, upstream, rng: &mut self.rng })
    }

    fn perform(&mut self, id: u64, mut step: Step) {
        loop {
            match step {
                Step::Start { slot, backend } | Step::Hedge { slot, backend } => {
                    self.exchanges.get_mut(&id).unwrap().started += 1;
                    self.check_start(id, backend, matches!(step, Step::Hedge { .. }));
                    self.settle_wait(id);
                    self.launch(id, slot, backend);
                    break;
                }
                Step::Resend { slot, .. } => {
                    self.shadow.totals.resends += 1;
                    self.relaunch(id, slot);
                    break;
                }
                Step::Cancel { slot } => {
                    let ended = self.exchanges.get_mut(&id).unwrap().slots[slot.index()].take();
                    assert!(ended.is_some(), "cancelled what does not run");
                    step = self.ask(id, Attempts::next);
                }
                Step::Full => return self.wait_for_backend(id, false),
                Step::ClientFull => return self.wait_for_backend(id, true),
                Step::Answer(reason) => {
                    self.shadow.on_answer(reason);
                    return self.end(id);
                }
                Step::Wait | Step::Done => break,
            }
        }
        self.arm(id);
    }

    /// Arms the timer, unless an earlier one is armed already.
    fn arm(&mut self, id: u64) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let upstream = &self.snapshots[exchange.generation].upstreams[exchange.worker][exchange.upstream];
        let due = exchange.attempt.timer(upstream);
        if due < exchange.armed {
            exchange.armed = due;
            self.schedule_clock(due, Event::Timer { exchange: id });
        }
    }

    /// The attempt leaves for its backend.
    fn launch(&mut self, id: u64, slot: SlotId, backend: usize) {
        let (probe, trial) = self.shadow.passes(backend);
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let address =
            self.snapshots[exchange.generation].pools[exchange.upstream].members()[backend].spec.address.clone();
        let fate = self.behaviours[&address].fate(&mut self.rng);
        assert!(exchange.slots[slot.index()].is_none(), "the slot is taken");
        exchange.slots[slot.index()] = Some(Run { serial: 0, address, fate, probe, trial });
        self.relaunch(id, slot);
    }

    fn relaunch(&mut self, id: u64, slot: SlotId) {
        self.shadow.serial += 1;
        let serial = self.shadow.serial;
        let run = self.exchanges.get_mut(&id).unwrap().slots[slot.index()].as_mut().unwrap();
        run.serial = serial;
        run.fate = self.behaviours[&run.address].fate(&mut self.rng);
        let sent = Event::Sent { exchange: id, serial };
        match run.fate {
            Fate::Head { after, .. } => {
                self.schedule(1, sent);
                self.schedule(1 + after, Event::Head { exchange: id, serial });
            }
            Fate::Fail { after, sent: left, .. } => {
                if left {
                    self.schedule(0, sent);
                }
                self.schedule(after, Event::Failure { exchange: id, serial });
            }
            Fate::Silence => self.schedule(1, sent),
        }
    }

    pub(crate) fn on_sent(&mut self, id: u64, serial: u32) {
        let Some(slot) = self.slot_of(id, serial) else { return };
        self.ask(id, |attempt, cx| {
            attempt.on_sent(cx, slot);
            attempt.on_upload_end(cx);
            Step::Wait
        });
        self.arm(id);
    }

    pub(crate) fn on_head(&mut self, id: u64, serial: u32) {
        let Some(slot) = self.slot_of(id, serial) else { return };
        let exchange = self.exchanges.get_mut(&id).unwrap();
        if exchange.responding.is_some() {
            return;
        }
        let Some(Run { fate: Fate::Head { status, body, .. }, .. }) = exchange.slots[slot.index()] else { panic!() };
        exchange.responding = Some(slot);
        let step = self.ask(id, |attempt, cx| attempt.on_head(cx, slot, status));
        // The verdict on a backend in doubt falls with the head.
        let run = self.exchanges.get_mut(&id).unwrap().slots[slot.index()].as_mut().unwrap();
        (run.probe, run.trial) = (false, false);
        self.perform(id, step);
        let exchange = &self.exchanges[&id];
        assert_eq!(exchange.slots.iter().flatten().count(), 1, "the loser was cancelled");
        self.schedule(body, Event::BodyEnd { exchange: id });
    }

    pub(crate) fn on_body_end(&mut self, id: u64) {
        let now = self.now();
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let slot = exchange.responding.expect("only after a head");
        let Some(Run { fate: Fate::Head { broken, .. }, .. }) = exchange.slots[slot.index()] else { panic!() };
        let upstream = &mut self.snapshots[exchange.generation].upstreams[exchange.worker][exchange.upstream];
        let mut cx = Cx { now, upstream, rng: &mut self.rng };
        if broken {
            exchange.attempt.on_broken(&mut cx, FailureKind::ConnectionLost(id));
            self.shadow.totals.broken += 1;
        } else {
            exchange.attempt.on_complete(&mut cx);
            self.shadow.totals.complete += 1;
        }
        self.end(id);
    }

    pub(crate) fn on_failure(&mut self, id: u64, serial: u32) {
        let Some(slot) = self.slot_of(id, serial) else { return };
        let gone = self.rng.below(100) < 30;
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let run = exchange.slots[slot.index()].as_ref().unwrap();
        let Fate::Fail { kind, sent: left, .. } = run.fate else { panic!() };
        let sent = if left && exchange.has_body && gone { Sent::Gone } else { Sent::Replayable };
        exchange.failed = Some(Failed { kind, sent, address: run.address.clone() });
        let step = self.ask(id, |attempt, cx| attempt.on_failure(cx, slot, kind, sent));
        if !matches!(step, Step::Resend { .. }) {
            self.exchanges.get_mut(&id).unwrap().slots[slot.index()] = None;
        }
        self.perform(id, step);
    }

    pub(crate) fn on_timer(&mut self, id: u64) {
        let now = self.now();
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let upstream = &self.snapshots[exchange.generation].upstreams[exchange.worker][exchange.upstream];
        exchange.armed = Nanos::NEVER;
        if exchange.ticket.is_some() {
            return; // the queue has its deadline
        }
        if exchange.attempt.timer(upstream) > now {
            return self.arm(id);
        }
        let step = self.ask(id, Attempts::on_timer);
        if let Step::Cancel { slot } = step {
            let exchange = self.exchanges.get_mut(&id).unwrap();
            let address = exchange.slots[slot.index()].as_ref().unwrap().address.clone();
            exchange.timed_out.push(address.clone());
            exchange.failed = Some(Failed { kind: FailureKind::ResponseTimeout, sent: Sent::Replayable, address });
        }
        self.perform(id, step);
    }

    pub(crate) fn on_abort(&mut self, id: u64) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        exchange.attempt.abort();
        self.shadow.totals.aborted += 1;
        if let Some(ticket) = exchange.ticket.take() {
            self.queues[exchange.worker].leave(ticket);
        }
        self.end(id);
    }

    /// Gives everything back, once.
    fn end(&mut self, id: u64) {
        let exchange = self.exchanges.remove(&id).expect("ends once");
        self.shadow.turns[exchange.worker] = true;
        if let Some(ticket) = exchange.ticket {
            self.queues[exchange.worker].leave(ticket);
        }
        drop(exchange);
    }

    fn wait_for_backend(&mut self, id: u64, is_held_back: bool) {
        let now = self.now();
        let exchange = self.exchanges.get_mut(&id).unwrap();
        if let Some(ticket) = exchange.ticket {
            return self.queues[exchange.worker].keep_waiting(ticket, is_held_back);
        }
        let permit = exchange.permit.as_ref().expect("held while waiting for a backend");
        match self.queues[exchange.worker].wait_backend(permit, is_held_back, exchange.waited, exchange.deadline, now) {
            Ok(ticket) => {
                exchange.ticket = Some(ticket);
                self.shadow.totals.waited_for_backend += 1;
            }
            Err(reason) => {
                self.shadow.on_answer(reason);
                self.end(id);
            }
        }
    }

    /// It found its backend.
    fn settle_wait(&mut self, id: u64) {
        let exchange = self.exchanges.get_mut(&id).unwrap();
        if let Some(ticket) = exchange.ticket.take() {
            self.queues[exchange.worker].leave(ticket);
        }
    }

    /// Every worker that was woken does its turn, until all is quiet.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut quiet = true;
            for worker in 0..WORKERS {
                // A worker looks at its queue after everything it does itself; the others only when they are woken.
                let has_turn = std::mem::take(&mut self.shadow.turns[worker]);
                if self.woken[worker].take() || has_turn {
                    quiet &= !self.poll_queue(worker);
                }
            }
            if quiet && self.shadow.turns == [false; WORKERS] && self.woken.iter().all(|woken| !woken.peek()) {
                return;
            }
        }
    }

    /// Whether there was any news.
    pub(crate) fn poll_queue(&mut self, worker: usize) -> bool {
        let mut any = false;
        let now = self.now();
        while let Some(wake) = self.queues[worker].poll(now) {
            any = true;
            let ticket = wake.ticket();
            let found =
                self.exchanges.values().find(|exchange| exchange.worker == worker && exchange.ticket == Some(ticket));
            let id = found.expect("transitions for a ticket that is held").id;
            let exchange = self.exchanges.get_mut(&id).unwrap();
            match wake {
                Wake::Granted { permit, waited, .. } => {
                    exchange.ticket = None;
                    exchange.permit = Some(permit);
                    exchange.waited = Some(waited);
                    self.begin(id);
                }
                Wake::TryBackend(_) => self.begin(id),
                Wake::Refused { reason, .. } => {
                    exchange.ticket = None;
                    self.check_refusal(id, reason);
                    self.shadow.on_answer(reason);
                    self.end(id);
                }
            }
        }
        let due = self.queues[worker].due();
        if due < self.queue_armed[worker] {
            self.queue_armed[worker] = due;
            self.schedule_clock(due, Event::QueueDue { worker });
        }
        any
    }

    fn check_refusal(&self, id: u64, reason: Reason) {
        let exchange = &self.exchanges[&id];
        assert_eq!(reason.row().error, ErrorKind::Overload, "{reason:?}");
        let waited = self.now() - exchange.since;
        // A clock that jumps may make it longer, a quiet one must not.
        if self.shadow.totals.jumps == 0 {
            assert!(waited <= Duration::from_millis(521), "waited {waited:?}");
        }
    }
}
