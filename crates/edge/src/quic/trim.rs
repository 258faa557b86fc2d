//! TLS for QUIC whose packets come out of decryption without the padding at their end.
//!
//! The QUIC engine takes PADDING for a frame a byte and goes through all the frame loop for each; at 12 ns a byte that is a
//! sixth of what a lone request costs. The keys are the one place where a packet can be shortened before it gets there.
//! Everything else is the engine's own TLS, unchanged.

use bytes::BytesMut;
use quinn_proto::{
    ConnectionId, Side, TransportError,
    crypto::{
        CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
        UnsupportedVersion,
    },
    transport_parameters::TransportParameters,
};
use spooky_bridge::padding;
use std::{any::Any, sync::Arc};

/// A TLS configuration whose sessions trim what they decrypt.
pub(crate) struct Trimmed<C>(pub(crate) Arc<C>);

impl<C: ServerConfig + 'static> ServerConfig for Trimmed<C> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid).map(trim)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(TrimmedSession(self.0.clone().start_session(version, params)))
    }
}

struct TrimmedSession(Box<dyn Session>);

impl Session for TrimmedSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        trim(self.0.initial_keys(dst_cid, side))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto().map(|(header, packet)| (header, trim_key(packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.0.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.0.write_handshake(buf).map(trim)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.0.next_1rtt_keys().map(trim_remote)
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

fn trim(keys: Keys) -> Keys {
    Keys { packet: trim_remote(keys.packet), ..keys }
}

/// Only the peer's packets are decrypted.
fn trim_remote(keys: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair { remote: trim_key(keys.remote), ..keys }
}

fn trim_key(key: Box<dyn PacketKey>) -> Box<dyn PacketKey> {
    Box::new(TrimmedKey(key))
}

struct TrimmedKey(Box<dyn PacketKey>);

impl PacketKey for TrimmedKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.0.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)?;
        payload.truncate(padding::length_without(payload));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{crypto::aws_lc_rs, quic::Version};

    fn keys(side: rustls::Side) -> rustls::quic::Keys {
        let mut suites = aws_lc_rs::DEFAULT_CIPHER_SUITES.iter();
        let suite = suites.find_map(|suite| suite.tls13()?.quic_suite()).unwrap();
        suite.keys(b"an identifier", side, Version::V1)
    }

    #[test]
    fn a_decrypted_packet_has_lost_its_padding_and_a_forged_one_is_refused() {
        let (client, server) = (keys(rustls::Side::Client), keys(rustls::Side::Server));
        let sender: Box<dyn PacketKey> = Box::new(client.local.packet);
        let receiver = trim_key(Box::new(server.remote.packet));
        let (header, frames) = (b"header".as_slice(), [0x01, 0x0b, 0, 3, b'a', b'b', 0]);
        let mut packet = [header, &frames, &[0; 1000], &[0; 16]].concat();
        sender.encrypt(7, &mut packet, header.len());
        let mut payload = BytesMut::from(packet.get(header.len()..).unwrap());
        receiver.decrypt(7, header, &mut payload).unwrap();
        assert_eq!(payload, frames.as_slice());
        let mut forged = BytesMut::from(packet.get(header.len()..).unwrap());
        receiver.decrypt(8, header, &mut forged).unwrap_err();
    }
}
