//! The data plane without kernel steering. Everything else of the runtime is tested by the integration tests.

use std::io;
use std::path::Path;

use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::Client;
use spooky_testkit::link::{Conditions, Link};
use spooky_testkit::origin::Origin;
use spooky_testkit::settings::Settings;
use tokio::task::spawn_blocking;

use super::{BoundListeners, Server, compile, privileges::Privileges, process_limits, quic_keys};
use crate::inherited::InheritedSockets;
use crate::state::{State, UpgradeState};
use crate::upgrade::message::Restrictions;
use crate::worker_layout::WorkerLayout;

mod figures;

const NAME: &str = "localhost";

/// Starts workers whose sockets get packets as the kernel likes.
fn start_without_steering(text: &str, threads: u16, shards: u16) -> Server {
    let mut config = spooky_config::parse(text, "spooky.yaml", &|_| None).unwrap().config;
    config.listeners[0].port = 0;
    // What it gives up, all tests of this process would be without.
    config.security.sandbox = spooky_config::Sandbox::Off;
    config.security.privileges.enabled = false;
    let privileges = Privileges::prepare(&config, Path::new("spooky.yaml"), Restrictions::default()).unwrap();
    let layout = WorkerLayout { threads, shards };
    let log = spooky_telemetry::log::open(&config.log, None).start().unwrap();
    let state =
        State::new(layout.workers(), &process_limits(&config), quic_keys(&config).unwrap(), UpgradeState::default())
            .unwrap();
    let listeners = BoundListeners::new(
        state.clone(),
        |_, _| Err(io::ErrorKind::Unsupported.into()),
        layout,
        InheritedSockets::default(),
    );
    let plan = listeners.plan(&config).unwrap();
    let snapshot = compile(config, &state, None).unwrap();
    Server::new(listeners, plan, state, snapshot, log, privileges, None).unwrap()
}

#[tokio::test]
async fn without_steering_a_client_may_still_change_its_port() {
    let (origin, authority) = (Origin::h2c().await, Authority::new());
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let text = Settings::new(&files).upstream("all", "/", &[origin.url()]).text();
    for (threads, shards) in [(3, 1), (2, 2)] {
        Box::pin(change_port(&authority, start_without_steering(&text, threads, shards))).await;
    }
}

async fn change_port(authority: &Authority, running: Server) {
    // The kernel now chooses a socket by the client's address, so a new port may lead to a worker without the connection.
    let link = Link::start(running.addresses()[0], Conditions::clean()).await;
    let client = Client::new(authority);
    let connection = client.connect(link.addr(), NAME).await;
    for _ in 0..16 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        link.rebind().await;
    }
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(client.connect(link.addr(), NAME).await);
    }
    for other in &others {
        assert_eq!(other.post("/echo", vec![7; 50_000]).await.unwrap().body.len(), 50_000);
    }
    drop((connection, others));
    spawn_blocking(|| running.stop()).await.unwrap();
}
