//! Scripted peers: bytes are passed in, events and the bytes written are compared as text.

mod anomalies;
mod client;
mod server;
mod server_states;

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::{Client, ClientConfig, ConnectionError, Event};
use crate::{
    WriteBuffer,
    message::{Fields, Known, Method, Name, RequestHead},
};

/// Returns all unsent bytes and removes them.
fn drain(output: &mut WriteBuffer) -> String {
    let mut bytes = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let set = output.slices(&mut slices);
        let part: Vec<u8> = slices[..set].iter().flat_map(|slice| slice.iter().copied()).collect();
        output.advance(part.len());
        bytes.extend(part);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn show_fields(fields: &Fields) -> String {
    let lines = fields.iter().map(|field| format!("{}: {}", text(field.name.as_bytes()), text(field.value)));
    format!("[{}]", lines.collect::<Vec<_>>().join(", "))
}

/// A request head for `http://origin.test/p` without further fields than `more`.
fn request(method: &str, more: &[(&str, &str)]) -> RequestHead {
    let mut fields = Fields::new();
    fields.push(Known::Method, method.as_bytes());
    let is_connect = method == "CONNECT";
    if !is_connect || more.iter().any(|(name, _)| *name == ":protocol") {
        fields.push(Known::Scheme, b"http");
        fields.push(Known::Path, b"/p");
    }
    fields.push(Known::Authority, if is_connect { b"origin.test:443" } else { b"origin.test" });
    let mut content_length = None;
    for (name, value) in more {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
        if *name == "content-length" {
            content_length = value.parse().ok();
        }
    }
    RequestHead { fields, method: Method::from_bytes(method.as_bytes()), content_length }
}
