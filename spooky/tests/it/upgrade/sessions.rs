//! What returning clients keep over an upgrade: address tokens. TLS tickets, and with them early data, are refused in order.

use spooky_testkit::client::{Client, frame};
use spooky_testkit::origin::Origin;
use spooky_testkit::wait;

use super::Upgraded;
use crate::proxy::{NAME, Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_token_of_the_old_process_spares_the_retry_of_the_new_one() {
    const BY_RETRY: &str = "Retry";
    let origin = Origin::h2c().await;
    let start = |settings: spooky_testkit::settings::Settings| {
        settings.level("haunt").workers(2).upstream("all", "/", &[origin.url()]).performance("quic_retry: always")
    };
    let mut upgraded = Upgraded::new(Proxy::start(start).await);
    let client = upgraded.proxy.client();
    let addr = upgraded.proxy.settings.addr();
    assert_eq!(client.connect(addr, NAME).await.get("/").await.unwrap().text(), "hello");
    upgraded.upgrade().await;
    let asked = upgraded.proxy.count(BY_RETRY);
    assert!(asked > 0, "{}", upgraded.proxy.program.output());
    assert_eq!(client.connect(addr, NAME).await.get("/").await.unwrap().text(), "hello");
    assert_eq!(upgraded.proxy.count(BY_RETRY), asked, "{}", upgraded.proxy.program.output());
    let other = upgraded.proxy.connect().await;
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
    let more = || async { (upgraded.proxy.count(BY_RETRY) > asked).then_some(()) };
    wait::until(wait::BOUND, "a Retry for a client without a token", more).await;
    drop(other);
    upgraded.stop().await;
}

#[tokio::test]
async fn early_data_with_a_ticket_of_the_old_process_is_refused_and_sent_again() {
    let origin = Origin::h2c().await;
    let start = |settings: spooky_testkit::settings::Settings| {
        settings.upstream("all", "/", &[origin.url()]).block("resilience: { protocol: { allow_0rtt: true } }")
    };
    let mut upgraded = Upgraded::new(Proxy::start(start).await);
    let addr = upgraded.proxy.settings.addr();
    let client = Client::with_tls(upgraded.proxy.authority.early_client_config(), |_| {});
    assert!(client.connect_early(addr, NAME).is_none());
    assert_eq!(client.connect(addr, NAME).await.get("/").await.unwrap().text(), "hello");
    upgraded.upgrade().await;
    for is_accepted in [false, true] {
        let (connection, accepted) = client.connect_early(addr, NAME).expect("a ticket");
        connection.send_settings().await;
        let mut request = connection.request(&frame::get("/"), true).await;
        assert_eq!(wait::within("the handshake", accepted).await, is_accepted);
        if !is_accepted {
            connection.send_settings().await;
            request = connection.request(&frame::get("/"), true).await;
        }
        assert_eq!(request.answer().await.unwrap().statuses(), ["200"]);
    }
    upgraded.stop().await;
}
