//! A client that fills its packets with empty STREAM frames, the frames that cost a server most.
//!
//! Wraps the packet keys: overwrites the padding of a packet before encryption. Used by [`super::Client::filling`].

use std::any::Any;
use std::sync::Arc;

use bytes::BytesMut;
use quinn_proto::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};

/// An empty STREAM frame with a length and without FIN (RFC 9000 section 19.8), for the first request stream.
const EMPTY_STREAM: [u8; 3] = [0x0a, 0x00, 0x00];

/// A TLS configuration that fills the packets of established connections.
#[derive(Debug)]
pub struct Filler<C>(pub Arc<C>);

impl<C: ClientConfig> ClientConfig for Filler<C> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = self.0.clone().start_session(version, server_name, params)?;
        Ok(Box::new(FillingSession { session, has_handshake_keys: false }))
    }
}

struct FillingSession {
    session: Box<dyn Session>,
    has_handshake_keys: bool,
}

impl Session for FillingSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.session.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.session.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.session.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.session.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.session.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.session.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.session.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.session.write_handshake(buf)?;
        // The first keys are for Handshake packets, the second for 1-RTT packets.
        if std::mem::replace(&mut self.has_handshake_keys, true) {
            return Some(Keys { packet: fill(keys.packet), ..keys });
        }
        Some(keys)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.session.next_1rtt_keys().map(fill)
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.session.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.session.export_keying_material(output, label, context)
    }
}

fn fill(keys: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair { local: Box::new(FillingKey(keys.local)), ..keys }
}

struct FillingKey(Box<dyn PacketKey>);

impl PacketKey for FillingKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let end = buf.len() - self.0.tag_len();
        let padding = padding(&buf[header_len..end]);
        for frame in buf[end - padding..end].chunks_exact_mut(EMPTY_STREAM.len()) {
            frame.copy_from_slice(&EMPTY_STREAM);
        }
        self.0.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

/// Returns the length of the padding at the end of a payload, minus the zeros that may belong to the last frame.
fn padding(payload: &[u8]) -> usize {
    const MAX_ZEROS_OF_A_FRAME: usize = 64;
    let zeros = payload.iter().rev().take_while(|byte| **byte == 0).count();
    zeros.saturating_sub(MAX_ZEROS_OF_A_FRAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_padding_is_overwritten() {
        assert_eq!(padding(&[1; 100]), 0);
        assert_eq!(padding(&[&[1][..], &[0; 64]].concat()), 0);
        assert_eq!(padding(&[&[1][..], &[0; 164]].concat()), 100);
    }
}
