//! Whether a request may go now: policy, brownout, limits, queues and budgets.
//!
//! [`Process`] and one [`Scope`] per upstream are shared and outlive a reload; the [`Queue`] belongs to one worker. A
//! [`Permit`] is held until its exchange has ended on both sides and returns by drop. Nothing here waits or sleeps: the
//! exchange asks, and is told later through [`Queue::poll`].

mod adaptive;
mod body;
mod brownout;
mod connections;
mod heads;
mod limit;
mod line;
mod policy;
mod queue;
mod rate;
mod share;

pub use adaptive::{Adaptive, AdaptiveOptions};
pub use body::{BodyBudget, BodyShare};
pub use brownout::{Brownout, BrownoutOptions};
pub use connections::{AddressValidation, ConnectionLimits, ConnectionSlot, HandshakeSlot, Opened, Refused};
pub use limit::{Limit, Permit, Process, ProcessOptions, Scope, ScopeOptions};
pub use policy::{ConnectRules, Policy, PolicyOptions};
pub use queue::{Admission, Queue, Ticket, Waited, Wake};
pub use rate::{Bucket, RateOptions};
pub use share::{ClientShare, client_limit};
pub(crate) use share::{Limited, ShareOfPlace};
