//! `log.qlog_dir`: a file for every QUIC connection.

use crate::proxy::Proxy;
use serde_json::Value;
use spooky_testkit::origin::Origin;
use std::fs;

#[tokio::test]
async fn each_quic_connection_writes_its_packets_to_a_file() {
    let (origin, directory) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let files = directory.path().join("qlog");
    let keys = format!("log: {{ level: info, qlog_dir: \"{}\" }}", files.display());
    let edit = |text: String| text.replace("log: { level: info }", &keys);
    let proxy = Proxy::start_edited(|settings| settings.upstream("all", "/", &[origin.url()]), edit).await;
    for _ in 0..2 {
        let connection = proxy.connect().await;
        assert_eq!(connection.get("/bytes/100000").await.unwrap().body.len(), 100_000);
    }
    assert_eq!(proxy.http2().await.get("/").await.unwrap().status, 200);
    proxy.stop().await;
    let files: Vec<_> = fs::read_dir(files).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "one for each QUIC connection: {files:?}");
    for file in files {
        assert!(file.extension().is_some_and(|extension| extension == "sqlog"), "{file:?}");
        let text = fs::read_to_string(&file).unwrap();
        let records: Vec<Value> = text
            .split('\u{1e}')
            .filter(|record| !record.trim().is_empty())
            .map(|record| serde_json::from_str(record).unwrap())
            .collect();
        let named = |name: &str| records.iter().filter(|record| record["name"].as_str() == Some(name)).count();
        let [sent, received] = ["packet_sent", "packet_received"]
            .map(|end| named(&format!("quic:{end}")) + named(&format!("transport:{end}")));
        assert!(sent > 50 && received > 3, "{sent} sent, {received} received in {file:?}");
    }
}
