//! GET requests to the metrics endpoint and the control API of a running process.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

/// Time limit of each step.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time limit of the whole response.
const LONGEST: Duration = Duration::from_secs(10);
/// Maximum length of a response.
const MAX_LENGTH: u64 = 16 * 1024 * 1024;

/// Sends a request without TLS and returns the body of a response with status 200, or 503, with which readiness is denied.
pub(super) fn get(address: &str, port: u16, path: &str, token: Option<&str>) -> io::Result<Vec<u8>> {
    let found = (address, port).to_socket_addrs()?.next();
    let found = found.ok_or_else(|| io::Error::other("the name has no address"))?;
    let mut stream = TcpStream::connect_timeout(&found, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    // With HTTP/1.0 the server closes the connection after the body, which then has no chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {found}\r\n{token}\r\n")?;
    body(&response(stream, Instant::now() + LONGEST)?)
}

/// Reads to the end of the stream.
fn response(stream: TcpStream, until: Instant) -> io::Result<Vec<u8>> {
    let (mut stream, mut response, mut buffer) = (stream.take(MAX_LENGTH), Vec::new(), vec![0; 64 * 1024]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(response);
        }
        response.extend_from_slice(buffer.get(..length).unwrap_or_default());
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the response takes too long"));
        }
    }
}

fn body(response: &[u8]) -> io::Result<Vec<u8>> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("the response is no HTTP"))?;
    let (head, body) = response.split_at(end);
    let status = String::from_utf8_lossy(head).split(' ').nth(1).unwrap_or_default().to_owned();
    if status == "200" || status == "503" {
        Ok(body.get(4..).unwrap_or_default().to_vec())
    } else {
        Err(io::Error::other(format!("status {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered(response: &'static str, token: Option<&str>) -> (io::Result<Vec<u8>>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (get("127.0.0.1", port, "/x", token), server.join().unwrap())
    }

    #[test]
    fn the_body_is_what_follows_the_head() {
        let (body, request) = answered("HTTP/1.1 200 OK\r\na: b\r\n\r\none\r\n\r\ntwo", Some("secret"));
        assert_eq!(body.unwrap(), b"one\r\n\r\ntwo");
        assert!(request.starts_with("GET /x HTTP/1.0\r\nhost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\nauthorization: Bearer secret\r\n"), "{request}");
    }

    #[test]
    fn a_response_that_does_not_end_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let server = std::thread::spawn(move || while server.write_all(b"x").is_ok() {});
        let error = response(stream, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        server.join().unwrap();
    }

    #[test]
    fn refusals_and_other_protocols_are_errors() {
        let (refused, request) = answered("HTTP/1.1 401 Unauthorized\r\n\r\n{}", None);
        assert_eq!(refused.unwrap_err().to_string(), "status 401");
        assert!(!request.contains("authorization"), "{request}");
        assert_eq!(answered("SSH-2.0", None).0.unwrap_err().to_string(), "the response is no HTTP");
    }
}
