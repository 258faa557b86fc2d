//! The congestion controller of each path: CUBIC where the path is short, a model of the path where it is long.
//!
//! CUBIC (RFC 9438) takes every lost or late packet for a full queue, and on a network that loses or reorders at random it
//! gives up most of the link. The model in [`model`] follows what is delivered, as BBR does (draft-ietf-ccwg-bbr). Below
//! two milliseconds CUBIC costs less and loses nothing, so a path that turns out to be that short is handed to it.

mod model;
mod rate;
mod round;
mod rtt;

use model::Model;
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};
use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

/// A path with a shorter round trip than this is CUBIC's.
const SHORT_PATH: Duration = Duration::from_millis(2);
/// Packets of the first window. RFC 9002 7.2 says ten; 32 saves a page one or two round trips.
const INITIAL_PACKETS: u64 = 32;

/// Makes the controller of a new path.
pub(crate) struct PathControllerFactory;

impl ControllerFactory for PathControllerFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(PathController::new(now, current_mtu))
    }
}

/// The controller of one path.
#[derive(Clone, Debug)]
struct PathController {
    law: Law,
    mtu: u16,
    initial: u64,
}

/// What governs the path.
#[derive(Clone, Debug)]
enum Law {
    /// The model.
    Long(Box<Model>),
    /// CUBIC, for good.
    Short(Cubic),
}

impl PathController {
    fn new(now: Instant, mtu: u16) -> Self {
        let initial = INITIAL_PACKETS * u64::from(mtu);
        Self { law: Law::Long(Box::new(Model::new(now, mtu.into(), initial))), mtu, initial }
    }
}

impl Controller for PathController {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        match &mut self.law {
            Law::Long(model) => model.on_ack(now, sent, bytes),
            Law::Short(cubic) => cubic.on_ack(now, sent, bytes, app_limited, rtt),
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        match &mut self.law {
            Law::Long(model) => {
                model.on_end_acks(now, in_flight, app_limited);
                if model.rtt.shortest().is_some_and(|rtt| rtt < SHORT_PATH) {
                    let mut config = CubicConfig::default();
                    config.initial_window(model.window);
                    self.law = Law::Short(Cubic::new(Arc::new(config), now, self.mtu));
                }
            }
            Law::Short(cubic) => cubic.on_end_acks(now, in_flight, app_limited, largest),
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        match &mut self.law {
            Law::Long(model) => {
                model.on_congestion(now, sent, persistent, lost_bytes);
            }
            Law::Short(cubic) => cubic.on_congestion_event(now, sent, persistent, lost_bytes),
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        match &mut self.law {
            Law::Long(model) => model.on_mtu(new_mtu.into()),
            Law::Short(cubic) => cubic.on_mtu_update(new_mtu),
        }
    }

    fn window(&self) -> u64 {
        match &self.law {
            Law::Long(model) => model.window,
            Law::Short(cubic) => cubic.window(),
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        match &self.law {
            Law::Long(_) => {
                let mut metrics = ControllerMetrics::default();
                metrics.congestion_window = self.window();
                metrics
            }
            Law::Short(cubic) => cubic.metrics(),
        }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1350;

    /// Acknowledges `rounds` windows on a path with this round-trip time, one packet in `lost_in` being lost.
    fn drive(model: &mut Model, start: Instant, rtt: Duration, rounds: u32, lost_in: Option<u64>) -> Instant {
        let mut sent = start;
        let mut count = 0;
        for _ in 0..rounds {
            let arrival = sent + rtt;
            let packets = model.window / u64::from(MTU);
            for _ in 0..packets {
                count += 1;
                if lost_in.is_some_and(|one| count % one == 0) {
                    model.on_congestion(arrival, sent, false, MTU.into());
                } else {
                    model.on_ack(arrival, sent, MTU.into());
                }
            }
            model.on_end_acks(arrival, 0, false);
            sent = arrival + Duration::from_micros(1);
        }
        sent
    }

    #[test]
    fn the_start_doubles_and_stray_losses_do_not_shrink_it() {
        let start = Instant::now();
        let (mut clean, mut lossy) = (Model::new(start, 1350, 43_200), Model::new(start, 1350, 43_200));
        drive(&mut clean, start, Duration::from_millis(20), 6, None);
        drive(&mut lossy, start, Duration::from_millis(20), 6, Some(100));
        assert!(clean.window >= 43_200 * 16, "{}", clean.window);
        assert!(lossy.window * 2 >= clean.window, "{} of {}", lossy.window, clean.window);
    }

    #[test]
    fn a_mark_and_heavy_loss_shrink_the_window() {
        let start = Instant::now();
        let mut model = Model::new(start, 1350, 43_200);
        let now = drive(&mut model, start, Duration::from_millis(20), 6, None);
        let before = model.window;
        let now = drive(&mut model, now, Duration::from_millis(20), 2, Some(3));
        assert!(model.window < before, "{} of {before}", model.window);
        let before = model.window;
        model.on_congestion(now, now, false, 0);
        drive(&mut model, now, Duration::from_millis(20), 2, None);
        assert!(model.window <= before, "{} of {before}", model.window);
    }

    #[test]
    fn persistent_congestion_begins_anew() {
        let start = Instant::now();
        let mut model = Model::new(start, 1350, 43_200);
        let now = drive(&mut model, start, Duration::from_millis(20), 4, None);
        model.on_congestion(now, now, true, 10_000);
        assert!(model.window <= 4 * 1350);
    }

    #[test]
    fn a_short_path_is_handed_to_cubic() {
        let start = Instant::now();
        let mut controller = PathController::new(start, MTU);
        let Law::Long(model) = &mut controller.law else { panic!("a path begins with the model") };
        model.on_ack(start + Duration::from_micros(300), start, MTU.into());
        controller.on_end_acks(start + Duration::from_micros(300), 0, false, None);
        assert!(matches!(controller.law, Law::Short(_)));
    }
}
