//! The HTTP client of the OTLP exporter: one HTTP/1.1 request on a connection of its own.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Maximum size of a collector's answer.
const MAX_RESPONSE: usize = 64 * 1024;

/// The client. Certificates are verified with the roots of the system, which are read at the first use.
#[derive(Debug, Default)]
pub(super) struct OtlpHttp {
    tls: OnceLock<Arc<ClientConfig>>,
}

impl HttpClient for OtlpHttp {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.send(request))
    }
}

impl OtlpHttp {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = std::mem::take(request.uri_mut());
        let authority = uri.authority().ok_or("the endpoint has no host")?;
        let is_https = uri.scheme_str() == Some("https");
        let port = authority.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let named = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_user, named)| named);
        request.headers_mut().insert(HOST, HeaderValue::from_str(named)?);
        *request.uri_mut() = uri.path_and_query().map_or_else(Uri::default, |target| Uri::from(target.clone()));
        let tcp = TcpStream::connect((host, port)).await?;
        if is_https {
            let name = ServerName::try_from(host.to_owned())?;
            exchange(TlsConnector::from(self.tls()).connect(name, tcp).await?, request).await
        } else {
            exchange(tcp, request).await
        }
    }

    fn tls(&self) -> Arc<ClientConfig> {
        let config = self.tls.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
        });
        config.clone()
    }
}

async fn exchange(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let connection = tokio::spawn(connection);
    let response = async {
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, MAX_RESPONSE).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
    .await;
    connection.abort();
    response
}
