//! Every client protocol with every backend protocol: one feature a row. The table of docs/reference/protocols.md.

mod duplex;
mod simple;

use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::duplex::Protocol;
use spooky_testkit::program;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    H2,
    H2Tls,
    H1,
    H1Tls,
}

const CLIENTS: [Protocol; 3] = [Protocol::Http3, Protocol::Http2, Protocol::Http1];
const BACKENDS: [Backend; 4] = [Backend::H2, Backend::H2Tls, Backend::H1, Backend::H1Tls];

impl Backend {
    fn is_http2(self) -> bool {
        matches!(self, Self::H2 | Self::H2Tls)
    }

    fn is_tls(self) -> bool {
        matches!(self, Self::H2Tls | Self::H1Tls)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_feature_works_with_every_pair_of_protocols() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let files = Files::write(&authority, &identity);
    let tls = format!("tls: {{ ca_file: \"{}\" }}", files.ca.display());
    let table = simple::rows(&identity, &tls).await + &duplex::rows(&identity, &tls).await;
    let page = program::file("docs/reference/protocols.md");
    assert!(page.contains(&table), "docs/reference/protocols.md must have these rows:\n{table}");
}
