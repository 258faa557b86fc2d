//! UDP and TCP sockets, timers, TLS contexts, CPU affinity, privileges and heap: the interface to the Linux kernel and to
//! rustls.
//!
//! This crate contains every `unsafe` block of the product, each with its reason. Callers pass plain option structs. It
//! knows nothing of QUIC but the position of connection ids, and nothing of HTTP. `edge` and the worker use [`udp`],
//! [`steer`], [`inbox`] and [`timer`]; `edge`, `transport` and the health checker use [`timer::Deadlines`], the
//! exchanges [`timer::Wheel`]; `edge` and `transport` use [`ready`]; the worker uses [`forward`] after an upgrade; the
//! runtime uses the rest.

pub mod forward;
pub mod heap;
pub mod inbox;
pub mod inherit;
pub mod ready;
pub mod steer;
pub mod sys;
pub mod tcp;
pub mod timer;
pub mod tls;
pub mod udp;
pub mod watch;

mod sockopt;
