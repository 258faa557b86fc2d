//! The integration tests: each starts the real program and tests it with peers that share no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption must fail the test at once, with its place"
)]

mod abort;
mod access;
mod activation;
mod address;
mod admission;
mod attempts;
mod balance;
mod blame;
mod capabilities;
mod certificates;
mod cli;
mod connect;
mod control;
mod demo;
mod diagnose;
mod drain;
mod early_data;
mod endings;
mod environment;
mod flood;
mod forward;
mod guide;
mod h3;
mod health;
mod http1_backends;
mod http1_clients;
mod http1_origins;
mod http2_clients;
mod interop;
mod life;
mod log;
mod log_file;
mod matrix;
mod memory;
mod message;
mod names;
mod notify;
mod overload;
mod policy;
mod privileges;
mod programs;
mod proxy;
mod proxy_protocol;
mod redirect;
mod relay;
mod reload;
mod route;
mod sandbox;
mod sessions;
mod shards;
mod slow;
mod smuggling;
mod steer;
mod stream;
mod tcp;
mod tcp_clients;
mod tcp_costs;
mod tcp_slow;
mod tracing;
mod trust;
mod tunnel;
mod upgrade;
mod upstream;
mod watchdog;
mod websocket;
mod windows;
