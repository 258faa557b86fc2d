//! The thread that sends spans to the collector, in batches, and drops what the collector does not take.

use super::{SpanQueues, convert, otlp};
use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use spooky_config::{Tracing, without_userinfo};
use std::{
    future::poll_fn,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    runtime::{Builder, Runtime},
    select,
    sync::watch,
    time::{sleep, sleep_until, timeout},
};

/// Spans of a batch, but for the last request, whose spans stay together.
const BATCH: usize = 512;
/// Longest time until a span is sent.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time for what is queued when the process stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Minimum time between two log lines about dropped spans.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The running exporter.
#[derive(Debug)]
pub struct SpanExporter {
    thread: JoinHandle<()>,
    /// Set when the exporter must stop: until when it may send.
    stop: watch::Sender<Option<Instant>>,
}

impl SpanExporter {
    /// Starts the exporter. `epoch` is time zero of the spans.
    pub fn start(options: &Tracing, queues: Arc<SpanQueues>, epoch: Instant) -> io::Result<Self> {
        // The exporter needs a second thread for its connection while the first one waits for the answer.
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("otlp").enable_all().build()?;
        let otlp = {
            let _entered = runtime.enter();
            otlp::exporter(options).map_err(io::Error::other)?
        };
        let (stop, stopped) = watch::channel(None);
        let export = Export {
            otlp,
            endpoint: without_userinfo(&otlp::endpoint(options)).into_owned(),
            queues,
            epoch,
            stopped,
            drops: DropLog::default(),
            scope: InstrumentationScope::builder("spooky").with_version(env!("CARGO_PKG_VERSION")).build(),
        };
        // A plain thread: the exporter must not be shut down from within a runtime.
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(move || run(runtime, export))?;
        Ok(Self { thread, stop })
    }

    /// Sends what is queued, for a bounded time, and stops.
    pub fn stop(self) {
        self.stop.send_replace(Some(Instant::now() + FLUSH_TIMEOUT));
        let _panicked = self.thread.join(); // logged by the panic hook
    }
}

fn run(runtime: Runtime, mut export: Export) {
    runtime.block_on(export.run());
    let _already_shut_down = export.otlp.shutdown();
    runtime.shutdown_background(); // a lookup of the collector's name may still run
}

struct Export {
    otlp: OtlpExporter,
    endpoint: String,
    queues: Arc<SpanQueues>,
    epoch: Instant,
    stopped: watch::Receiver<Option<Instant>>,
    drops: DropLog,
    scope: InstrumentationScope,
}

impl Export {
    async fn run(&mut self) {
        let mut is_last = false;
        while !is_last {
            let queues = self.queues.clone();
            select! {
                _ = self.stopped.changed() => is_last = true,
                () = sleep(INTERVAL) => {}
                () = poll_fn(|cx| queues.poll_half_full(cx)) => {}
            }
            loop {
                let batch = self.take_batch();
                if batch.is_empty() {
                    break;
                }
                self.send(batch).await;
            }
            self.log_dropped(None);
        }
    }

    fn take_batch(&self) -> Vec<SpanData> {
        // Computed for each batch, so that spans follow a system clock that is set.
        let epoch = SystemTime::now() - self.epoch.elapsed();
        let requests = self.queues.take(BATCH);
        requests.iter().flat_map(|request| convert::spans(request, epoch, &self.scope)).collect()
    }

    /// Sends a batch, and counts its spans.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        let result = select! {
            biased;
            () = flush_ended(self.stopped.clone()) => Err("the process stops".to_owned()),
            result = timeout(otlp::EXPORT_TIMEOUT, self.otlp.export(batch)) => match result {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_elapsed) => Err("timed out".to_owned()),
            },
        };
        match result {
            Ok(()) => self.queues.on_exported(spans),
            Err(error) => {
                self.queues.on_dropped(spans);
                self.log_dropped(Some(&error));
            }
        }
    }

    /// Logs how many spans were dropped, at most once in [`LOG_INTERVAL`]. Without an error, a queue was full.
    fn log_dropped(&mut self, error: Option<&str>) {
        if let Some(dropped) = self.drops.admit(self.queues.dropped(), Instant::now()) {
            // The collector may have written the error.
            let error = error.unwrap_or("the collector is too slow").escape_debug();
            let endpoint = &self.endpoint;
            tracing::warn!("Spans dropped: {dropped}; the export to {endpoint} failed: {error}");
        }
    }
}

/// Waits until the time for the last spans is over.
async fn flush_ended(mut stopped: watch::Receiver<Option<Instant>>) {
    let until = match stopped.wait_for(Option::is_some).await {
        Ok(until) => *until,
        Err(_sender_dropped) => None,
    };
    sleep_until(until.unwrap_or_else(Instant::now).into()).await;
}

/// When dropped spans were last logged, and how many had been dropped then.
#[derive(Debug, Default)]
pub(super) struct DropLog {
    last: Option<Instant>,
    dropped: u64,
}

impl DropLog {
    /// Returns how many spans were dropped since the last line, if a line is due.
    pub(super) fn admit(&mut self, dropped: u64, now: Instant) -> Option<u64> {
        let is_early = self.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_INTERVAL);
        let more = dropped.saturating_sub(self.dropped);
        if is_early || more == 0 {
            return None;
        }
        (self.last, self.dropped) = (Some(now), dropped);
        Some(more)
    }
}
