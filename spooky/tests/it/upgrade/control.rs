//! The control API over upgrades: one process after the other answers on the same port, and none is refused.

use spooky_testkit::origin::Origin;
use spooky_testkit::port;
use spooky_testkit::tcp::Http1;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Upgraded;
use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_to_the_control_api_is_answered() {
    let (origin, at) = (Origin::h2c().await, port::free());
    let block = format!("observability:\n  control_api: {{ enabled: true, required: true, port: {} }}", at.port());
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).block(&block)).await;
    let mut upgraded = Upgraded::new(proxy);
    let (stop, stopped) = watch::channel(false);
    let asking = tokio::spawn(async move {
        let mut answers = 0;
        while !*stopped.borrow() {
            let mut connection = Http1::over(TcpStream::connect(at).await.unwrap());
            connection.send(format!("GET /health HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")).await;
            assert_eq!(connection.reply().await.status(), 200);
            answers += 1;
        }
        answers
    });
    for number in 1..=3 {
        upgraded.upgrade().await;
        upgraded.ended(number - 1).await;
    }
    stop.send_replace(true);
    assert!(asking.await.unwrap() > 10);
    upgraded.stop().await;
}
