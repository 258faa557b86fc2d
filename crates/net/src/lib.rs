//! UDP sockets, timers, TLS contexts, processor cores and privileges: what Spooky asks of the Linux kernel and of rustls.
//!
//! This crate owns every `unsafe` block of the product, each with its reason. It knows no QUIC beyond the place of a
//! connection id, no HTTP and no configuration file: callers pass plain option structs. `edge` and the worker call
//! [`udp`], [`steer`], [`inbox`] and [`timer`]; `edge`, `transport` and the probes use [`timer::Deadlines`], the exchanges
//! [`timer::Wheel`]; the runtime calls the rest.

pub mod heap;
pub mod inbox;
pub mod steer;
pub mod sys;
pub mod timer;
pub mod tls;
pub mod udp;

mod sockopt;
