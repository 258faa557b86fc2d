//! The Spooky process: the exchange, the workers, and the life cycle from start to stop.
#![forbid(unsafe_code)]

mod admin;
pub mod cli;
mod client_side;
mod clock;
mod control;
mod counts;
mod current_snapshot;
mod demo;
mod diagnose;
mod exchange;
mod file_watch;
mod inherited;
mod lifecycle;
mod listener;
mod listener_views;
mod metrics;
mod names;
mod probe;
mod proc_stat;
mod redirect;
mod reload_counts;
mod restart;
mod runtime;
mod samples;
mod shared_socket;
mod signals;
mod snapshot;
mod start_error;
mod state;
mod stream_window;
mod tcp_ingress;
mod upgrade;
mod watchdog;
mod worker;
mod worker_cpu;
mod worker_layout;
