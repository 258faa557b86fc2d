//! The backends: processes of their own, so that they can be killed.

use crate::BACKEND;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::{http1, http2};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use spooky_testkit::{pattern::Pattern, port, process::Program, rng::Rng, wait};
use std::{convert::Infallible, net::SocketAddr};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
};

/// Backends of each protocol.
const BACKENDS: usize = 3;

struct Backend {
    addr: SocketAddr,
    protocol: &'static str,
    program: Program,
}

pub(crate) struct Backends(Vec<Backend>);

impl Backends {
    pub(crate) async fn start() -> Self {
        let mut backends = Vec::new();
        for protocol in ["h2", "http1"] {
            for _ in 0..BACKENDS {
                let addr = port::free();
                backends.push(Backend { addr, protocol, program: start(addr, protocol).await });
            }
        }
        Self(backends)
    }

    pub(crate) fn urls(&self, protocol: &str) -> Vec<String> {
        let of_protocol = self.0.iter().filter(|backend| backend.protocol == protocol);
        of_protocol.map(|backend| format!("http://{}", backend.addr)).collect()
    }

    /// Kills one backend and starts it again after two seconds.
    pub(crate) async fn kill_one(&mut self, rng: &mut Rng) {
        let at = rng.below(self.0.len() as u64) as usize;
        let Some(backend) = self.0.get_mut(at) else { return };
        backend.program.signal(rustix::process::Signal::KILL);
        backend.program.exit(wait::BOUND).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        backend.program = start(backend.addr, backend.protocol).await;
    }
}

async fn start(addr: SocketAddr, protocol: &str) -> Program {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args([BACKEND, &addr.to_string(), protocol]);
    let mut program = Program::spawn(command);
    program.ready("a backend that accepts", || async { TcpStream::connect(addr).await.is_ok() }).await;
    program
}

/// Serves `/<any>/bytes/<n>` and `/<any>/echo` until it is killed.
pub(crate) async fn serve(addr: SocketAddr, protocol: &str) {
    let listener = TcpListener::bind(addr).await.expect("bind a backend");
    let is_http2 = protocol == "h2";
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (stream, answer) = (TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move {
            if is_http2 {
                http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await
            } else {
                http1::Builder::new().serve_connection(stream, answer).await
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let length = request.uri().path().rsplit_once("/bytes/").and_then(|(_, length)| length.parse().ok());
    let body = match length {
        Some(length) => Pattern::bytes(length, length),
        None => match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            // The client has gone.
            Err(_) => Bytes::new(),
        },
    };
    Ok(Response::new(Full::new(body)))
}
