//! The demo's HTTP/3 client: `h3` on `quinn`, which shares no HTTP code with the product.

use bytes::{Buf, Bytes, BytesMut};
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use http::{HeaderMap, Request, StatusCode};
use quinn::{ClientConfig, Endpoint, crypto::rustls::QuicClientConfig};
use rustls_pki_types::CertificateDer;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// Timeout of the request.
const LIMIT: Duration = Duration::from_secs(10);
/// Maximum length of the response body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// `H3_NO_ERROR` (RFC 9114 section 8.1).
const NO_ERROR: u32 = 0x100;

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
    /// From the first packet of the handshake to the end of the response.
    pub(super) took: Duration,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Requests `/` of `host` from `server`, trusting only this certificate.
pub(super) async fn get(server: SocketAddr, host: &str, trusted: CertificateDer<'static>) -> Result<Reply, String> {
    match tokio::time::timeout(LIMIT, exchange(server, host, trusted)).await {
        Ok(reply) => reply.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no response within {} s", LIMIT.as_secs())),
    }
}

async fn exchange(server: SocketAddr, host: &str, trusted: CertificateDer<'static>) -> Result<Reply, Error> {
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let began = Instant::now();
    let connection = endpoint.connect_with(trust(trusted)?, server, host)?.await?;
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let url = format!("https://{host}:{}/", server.port());
    let reply = tokio::select! {
        reply = request(sender, url, began) => reply?,
        error = driver.wait_idle() => return Err(error.into()),
    };
    endpoint.close(NO_ERROR.into(), b"");
    endpoint.wait_idle().await;
    Ok(reply)
}

fn trust(certificate: CertificateDer<'static>) -> Result<ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

async fn request(mut sender: SendRequest<OpenStreams, Bytes>, url: String, began: Instant) -> Result<Reply, Error> {
    let request = Request::get(url).header("user-agent", concat!("spooky-demo/", env!("CARGO_PKG_VERSION"))).body(())?;
    let mut stream = sender.send_request(request).await?;
    stream.finish().await?;
    let (head, ()) = stream.recv_response().await?.into_parts();
    let mut body = BytesMut::new();
    while let Some(mut piece) = stream.recv_data().await? {
        let piece = piece.copy_to_bytes(piece.remaining());
        if body.len() + piece.len() > MAX_BODY_BYTES {
            return Err(format!("the body is longer than {MAX_BODY_BYTES} bytes").into());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Reply { status: head.status, fields: head.headers, body: body.freeze(), took: began.elapsed() })
}
