//! The threads of the control plane.

use crate::{admin::Admin, api::Api, connection::serve, metrics::Metrics, routes::Routes};
use spooky_config::ControlApi;
use std::{
    future::Future,
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

/// Exporters need a second thread: one of them waits for the other.
const MIN_THREADS: usize = 2;

/// Maximum time for which the end waits for requests in progress.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// What the control API needs beside its state.
pub struct ApiOptions {
    /// Its paths and address.
    pub config: ControlApi,
    /// Counts connections above the limit (`spooky_control_api_connection_limit_drops`).
    pub dropped: Arc<AtomicU64>,
}

/// What the metrics endpoint needs beside the metrics.
pub struct MetricsOptions {
    /// Its address in the configuration.
    pub address: String,
    /// The path of the metrics.
    pub path: String,
}

/// The threads of the control plane. Dropping it stops them.
pub struct ControlPlane {
    runtime: Option<Runtime>,
    /// Tells listeners and connections to end. Each has a receiver.
    leave: watch::Sender<bool>,
}

impl ControlPlane {
    /// Starts the threads `control-0`, `control-1` and so on: as many as asked for, but at least two.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize) -> io::Result<Self> {
        let number = AtomicUsize::new(0);
        let name = move || format!("control-{}", number.fetch_add(1, Relaxed));
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads.max(MIN_THREADS)).thread_name_fn(name).enable_all().build()?;
        Ok(Self { runtime: Some(runtime), leave: watch::Sender::new(false) })
    }

    /// Accepts no more connections, so that another process gets them. Requests in progress are answered, and their connections
    /// end.
    pub fn leave(&self) {
        self.leave.send_replace(true);
    }

    /// Ends after the answers to requests in progress. Blocks for at most a second.
    pub fn finish(self) {
        self.leave();
        let until = Instant::now() + LAST_REQUESTS;
        while self.leave.receiver_count() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(2));
        }
    }

    /// Runs another task of the control plane.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Serves the control API on a listener.
    ///
    /// # Errors
    /// When the listener cannot be used without blocking.
    pub fn serve_api<A: Admin>(&self, listener: TcpListener, options: ApiOptions, admin: Arc<A>) -> io::Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let routes = Routes::new(&options.config);
        let api = Arc::new(Api { admin, routes, bound: options.config.address, dropped: options.dropped });
        let _entered = runtime.enter();
        runtime.spawn(serve(adopt(listener)?, api, self.leave.subscribe()));
        Ok(())
    }

    /// Serves the metrics on a listener.
    ///
    /// # Errors
    /// When the listener cannot be used without blocking.
    pub fn serve_metrics<A: Admin>(
        &self,
        listener: TcpListener,
        options: MetricsOptions,
        admin: Arc<A>,
    ) -> io::Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let metrics = Arc::new(Metrics { admin, path: options.path, bound: options.address });
        let _entered = runtime.enter();
        runtime.spawn(serve(adopt(listener)?, metrics, self.leave.subscribe()));
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May be called where blocking is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// Must be called within the runtime.
fn adopt(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
