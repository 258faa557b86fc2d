//! The congestion controller of each path.

use quinn_proto::congestion::{Controller, ControllerFactory, CubicConfig};
use std::{sync::Arc, time::Instant};

/// Makes the controller of a new path.
pub(crate) struct PathControllerFactory;

impl ControllerFactory for PathControllerFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Arc::new(CubicConfig::default()).build(now, current_mtu)
    }
}
