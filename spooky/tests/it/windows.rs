//! The window of a response at its backend: the stream's share of what the client's connection may buffer.

use std::sync::atomic::{AtomicU64, Ordering};

use spooky_testkit::client::{Client, frame};
use spooky_testkit::tcp::frames::{self, END_HEADERS, END_STREAM, Frames, head, kind};
use spooky_testkit::wait;

use crate::memory::endless;
use crate::proxy::{NAME, Proxy};

const UNLIMITED: &str = "max_response_body_bytes: 1GiB";
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;
/// The origin takes up to one frame more than its window.
const FRAME: u64 = 16 * 1024;
const STREAMS: u32 = 48;
/// What a client permits for each stream, and no more. It exceeds the initial window at the backend (128 KB).
const WINDOW: u32 = 256 * 1024;

/// Waits until the clients have what they permit, and the origin sends nothing while other requests are served. Returns how
/// many bytes of each stream have left the origin in addition.
async fn buffered(proxy: &Proxy, taken: &AtomicU64) -> u64 {
    let permitted = u64::from(STREAMS) * u64::from(WINDOW);
    let sent = || async { Some(taken.load(Ordering::Relaxed)).filter(|sent| *sent >= permitted) };
    let mut before = wait::until(wait::BOUND, "the windows of the clients to be full", sent).await;
    let other = proxy.connect().await;
    let stopped = wait::within("the origin to stop", async {
        loop {
            for _ in 0..3 {
                other.get("/").await.unwrap();
            }
            let now = taken.load(Ordering::Relaxed);
            if std::mem::replace(&mut before, now) == now {
                break now;
            }
        }
    });
    (stopped.await - permitted) / u64::from(STREAMS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_of_a_quic_client_have_less_than_the_initial_window() {
    /// A third of what a connection may buffer at most (8 MB).
    const SHARE: u64 = 8 * 1024 * 1024 / 3 / STREAMS as u64;
    let (origin, taken) = endless().await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(UNLIMITED)).await;
    let client = Client::tuned(&proxy.authority, |transport| {
        transport.stream_receive_window(WINDOW.into()).receive_window((64_u32 << 20).into());
    });
    let connection = client.connect_raw(proxy.settings.addr(), NAME).await;
    connection.send_settings().await;
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        unread.push(connection.request(&frame::get("/endless"), true).await);
    }
    let buffered = buffered(&proxy, &taken).await;
    assert!(buffered <= SHARE + FRAME, "{buffered} bytes for each stream");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_of_a_tcp_client_have_less_than_the_initial_window() {
    const SHARE: u64 = 16 * 1024;
    let (origin, taken) = endless().await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(UNLIMITED)).await;
    let settings = [(INITIAL_WINDOW, WINDOW)];
    let mut client = Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &settings).await;
    client.send(&frames::frame(kind::WINDOW_UPDATE, 0, 0, &(64_u32 << 20).to_be_bytes())).await;
    for number in 0..STREAMS {
        client.send(&head(2 * number + 1, END_STREAM | END_HEADERS, "GET", "/endless")).await;
    }
    wait::within("the windows of the client to be full", async {
        let mut read = 0;
        while read < STREAMS as usize * WINDOW as usize {
            read += client.until(kind::DATA).await.unwrap().payload.len();
        }
    })
    .await;
    let buffered = buffered(&proxy, &taken).await;
    assert!(buffered <= SHARE + FRAME, "{buffered} bytes for each stream");
}
