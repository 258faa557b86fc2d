//! The congestion controller of each path: CUBIC on short ones, a model of the path on all others.
//!
//! Called by quinn-proto, which also paces: it sends at 5/4 of a window for each smoothed round-trip time. A
//! controller here decides nothing but the window.
//!
//! Why not CUBIC (RFC 9438) alone: it takes each loss for congestion, and so loses most of a path which drops or
//! reorders one packet in a hundred. Why not a model alone: a model's window is the delivery rate times the round-trip
//! time, and on paths of less than two milliseconds that time is mostly the scheduling of the two hosts. There CUBIC
//! recovers from a random loss in a few milliseconds anyway. What was measured is in
//! `docs/decisions/0005-congestion-control.md`.
//!
//! All state is of fixed size; an acknowledgement costs a few additions, the end of a round trip a few divisions.

mod log;
mod model;
mod rate;
mod round;
mod rtt;
#[cfg(test)]
mod tests;

pub(crate) use log::{LastLog, PathLog};

use model::Model;
use quinn_proto::{
    RttEstimator,
    congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig},
};
use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

/// Paths with a shorter round-trip time than this are CUBIC's.
const SHORT_PATH: Duration = Duration::from_millis(2);

/// Packets that a new path may have in flight. RFC 9002 section 7.2 recommends 10; the large content networks have sent
/// 32 for years. quinn-proto paces them, and the address is validated before most of them leave. A response of 100 KiB
/// over 20 ms takes 70 ms instead of 102.
const INITIAL_PACKETS: u64 = 32;

/// Creates the controller of a new path.
#[derive(Default)]
pub(crate) struct PathControllerFactory(pub(crate) LastLog);

impl ControllerFactory for PathControllerFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(PathController::new(now, current_mtu, self.0.make()))
    }
}

/// The controller of one path.
#[derive(Clone, Debug)]
struct PathController {
    log: Arc<PathLog>,
    algorithm: Algorithm,
    mtu: u16,
    initial_window: u64,
}

/// Algorithm that sets the window. All paths begin as `Model`, which starts with a slow start like CUBIC's.
#[derive(Clone, Debug)]
enum Algorithm {
    Model(Box<Model>),
    Cubic(Cubic),
}

impl PathController {
    fn new(now: Instant, mtu: u16, log: Arc<PathLog>) -> Self {
        let initial_window = INITIAL_PACKETS * u64::from(mtu);
        Self {
            log,
            algorithm: Algorithm::Model(Box::new(Model::new(now, mtu.into(), initial_window))),
            mtu,
            initial_window,
        }
    }
}

impl Controller for PathController {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.log.on_ack(bytes);
        match &mut self.algorithm {
            Algorithm::Model(model) => model.on_ack(now, sent, bytes),
            Algorithm::Cubic(cubic) => cubic.on_ack(now, sent, bytes, app_limited, rtt),
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.log.on_end_acks(in_flight);
        match &mut self.algorithm {
            Algorithm::Model(model) => {
                model.on_end_acks(now, in_flight, app_limited);
                if model.shortest_rtt().is_some_and(|rtt| rtt < SHORT_PATH) {
                    let mut config = CubicConfig::default();
                    config.initial_window(model.window());
                    self.algorithm = Algorithm::Cubic(Cubic::new(Arc::new(config), now, self.mtu));
                }
            }
            Algorithm::Cubic(cubic) => cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked),
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.log.on_loss();
        match &mut self.algorithm {
            Algorithm::Model(model) => model.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes),
            Algorithm::Cubic(cubic) => cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes),
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        match &mut self.algorithm {
            Algorithm::Model(model) => model.on_mtu_update(new_mtu.into()),
            Algorithm::Cubic(cubic) => cubic.on_mtu_update(new_mtu),
        }
    }

    fn window(&self) -> u64 {
        match &self.algorithm {
            Algorithm::Model(model) => model.window(),
            Algorithm::Cubic(cubic) => cubic.window(),
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        match &self.algorithm {
            Algorithm::Model(_) => {
                let mut metrics = ControllerMetrics::default();
                metrics.congestion_window = self.window();
                metrics
            }
            Algorithm::Cubic(cubic) => cubic.metrics(),
        }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
