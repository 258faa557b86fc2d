//! The metrics of running workers under a mixed load.

use super::{NAME, start_without_steering};
use crate::{metrics::render, state::State};
use http::Request;
use spooky_telemetry::metrics::{Names, Syntax};
use spooky_testkit::{
    certs::{Authority, Files},
    client::{Client, Connection},
    origin::Origin,
    rng::Rng,
    settings::Settings,
    wait,
};
use std::time::Duration;
use tokio::{task::spawn_blocking, time::sleep};

const SEED: u64 = 7;
/// Between two looks at the counts.
const PAUSE: Duration = Duration::from_millis(5);

fn page(state: &State) -> String {
    String::from_utf8(render(state, &state.current.get().unwrap(), Syntax::Text, Names::Current)).unwrap()
}

/// Returns the sum of the samples whose names and labels begin so.
fn sum(page: &str, start: &str) -> u64 {
    page.lines()
        .filter(|line| line.starts_with(start))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}

fn check_total(page: &str) {
    let parts = ["success", "failure", "cancelled"].map(|part| sum(page, &format!("spooky_requests_{part}_total ")));
    let in_flight = sum(page, "spooky_http_requests_in_flight{");
    let total = sum(page, "spooky_requests_total ");
    assert_eq!(total, parts.iter().sum::<u64>() + in_flight, "{parts:?} in flight {in_flight}");
}

/// Sends requests whose methods, paths and fields are all different, and cancels some. Returns how many.
async fn mixed_load(connection: &Connection, origin: &Origin) -> usize {
    let mut rng = Rng::new(SEED);
    let mut cancelled = 0;
    for sent in 2..62 {
        let number = rng.next_u64();
        let is_cancelled = number.is_multiple_of(3);
        let path = if is_cancelled { "hold".to_owned() } else { format!("random/{number}") };
        let method = ["GET", "POST", "BREW", "X1"][number as usize % 4];
        let method = if method == "X1" { format!("M{number}") } else { method.to_owned() };
        let request = Request::builder()
            .method(method.as_str())
            .uri(format!("https://{NAME}/{path}?q={number}"))
            .header("user-agent", format!("agent-{number}"));
        let exchange = connection.open(request.body(()).unwrap()).await.unwrap();
        if is_cancelled {
            // What is cancelled before it was sent would not be counted.
            origin.journal().until("the request", |record| record.requests.len() >= sent).await;
            exchange.cancel();
            cancelled += 1;
        } else {
            let (mut sending, mut reading) = exchange.split();
            sending.finish().await.unwrap();
            let _answer = reading.reply().await;
        }
    }
    cancelled
}

#[tokio::test]
async fn counts_add_up_and_nothing_of_a_client_becomes_a_label() {
    let (origin, authority) = (Origin::h2c().await, Authority::new());
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let settings = Settings::new(&files).upstream("all", "/", &[origin.url()]);
    let running = start_without_steering(&settings.text(), 2, 1);
    let state = running.state.clone();
    let address = running.addresses()[0];
    let client = Client::new(&authority);
    let connection = client.connect(address, NAME).await;
    connection.get("/").await.unwrap();
    let series = |page: &str| page.lines().filter(|line| line.contains('{')).count();
    let before = wait::within("the first request is counted", async {
        loop {
            let page = page(&state);
            if sum(&page, "spooky_requests_success_total ") == 1 {
                return page;
            }
            sleep(PAUSE).await;
        }
    })
    .await;

    let cancelled = mixed_load(&connection, &origin).await;
    let after = wait::within("all requests are counted", async {
        loop {
            let page = page(&state);
            if sum(&page, "spooky_requests_total ") >= 61 && sum(&page, "spooky_http_requests_in_flight{") == 0 {
                return page;
            }
            sleep(PAUSE).await;
        }
    })
    .await;
    check_total(&after);
    assert!(cancelled > 0 && sum(&after, "spooky_requests_cancelled_total ") > 0, "seed {SEED}:\n{after}");
    for word in ["random", "BREW", "agent-", "q="] {
        assert!(!after.contains(word), "seed {SEED}: {word} is in:\n{after}");
    }
    // New methods are all `OTHER`; each of three methods may have some statuses, but no request has a series of its own.
    assert!(series(&after) - series(&before) < 20, "seed {SEED}: {} after {}", series(&after), series(&before));

    assert_eq!(sum(&after, "spooky_downstream_connections{"), 1);
    assert_eq!(sum(&after, "spooky_quic_handshake_seconds_count{"), 1);
    assert_eq!(sum(&after, "spooky_downstream_tls_alpn_total{"), 1);
    assert!(sum(&after, "spooky_quic_datagrams_total{direction=\"received\"}") > 60);
    assert!(sum(&after, "spooky_quic_datagrams_total{direction=\"sent\"}") > 10);
    assert!(sum(&after, "spooky_scid_rotations_total ") > 0, "clients get further ids");
    assert!(sum(&after, "spooky_backend_connect_attempt_total ") >= 1);
    assert!(sum(&after, "spooky_backend_connections{upstream=\"all\"") >= 1);
    drop(connection);
    client.drain().await;
    wait::within("the connection is gone", async {
        while sum(&page(&state), "spooky_downstream_connections{") > 0 {
            sleep(PAUSE).await;
        }
    })
    .await;
    spawn_blocking(|| running.stop()).await.unwrap();
}
