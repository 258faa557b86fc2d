//! Admission: whether a request may proceed now. Policy, brownout, limits, queues and budgets.
//!
//! [`GlobalLimits`] and one [`RouteLimits`] per upstream are shared and survive reloads; the [`Queue`] belongs to one
//! worker. A [`Permit`] is held until its exchange has ended on both sides. Nothing here blocks: a request that must wait is
//! reported later by [`Queue::poll`].

mod adaptive;
mod body;
mod brownout;
mod connections;
mod heads;
mod limit;
mod policy;
mod queue;
mod rate;
mod share;
mod waiters;

pub use adaptive::{Adaptive, AdaptiveOptions};
pub use body::{BodyBudget, BodyShare};
pub use brownout::{Brownout, BrownoutOptions};
pub use connections::{AddressValidation, ConnectionLimits, ConnectionRefusal, ConnectionSlot, HandshakeSlot, Opened};
pub use limit::{GlobalLimitOptions, GlobalLimits, Limit, Permit, RouteLimitOptions, RouteLimits};
pub use policy::{ConnectRules, Policy, PolicyOptions};
pub use queue::{Admission, Queue, Ticket, WaitPeriod, Wake};
pub use rate::{Bucket, RateOptions};
pub use share::{ClientShare, client_limit};
pub(crate) use share::{ClientShareGuard, LimitId};
