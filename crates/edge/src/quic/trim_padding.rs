//! A TLS configuration for quinn-proto that removes trailing padding from decrypted packets and records their STREAM frames.
//!
//! quinn-proto handles PADDING one byte at a time, at 12 ns each: a sixth of the cost of a single request. The packet keys are
//! the only place where a packet can be shortened before that. Everything else is quinn-proto's TLS, unchanged.
//!
//! quinn-proto does not report how much stream data it buffers, or how much memory a buffered frame keeps. So the frames of
//! request streams are recorded here ([`take_streams`]), and frames that are small compared to their packets are copied. Also,
//! this is where a client is refused for which there is no slot when its handshake completes (`establish`).

use super::establish;
use bytes::BytesMut;
use quinn_proto::{
    ConnectionId, Side, TransportError,
    crypto::{
        CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
        UnsupportedVersion,
    },
    transport_parameters::TransportParameters,
};
use spooky_bridge::padding::{self, StreamFrame};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

thread_local! {
    /// STREAM frames that this thread has decrypted since they were last taken. Thread-local, because quinn-proto owns the
    /// keys and gives no access to them.
    static STREAMS: RefCell<Vec<StreamFrame>> = const { RefCell::new(Vec::new()) };
    /// A packet could not be decrypted since this was last taken. quinn-proto drops such packets without saying so.
    static UNDECRYPTABLE: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a packet could not be decrypted since the last call.
pub(crate) fn take_undecryptable() -> bool {
    UNDECRYPTABLE.take()
}

/// Passes the frames of request streams that were recorded since the last call.
pub(crate) fn take_streams(on_frame: impl FnMut(&StreamFrame)) {
    STREAMS.with_borrow_mut(|frames| {
        frames.iter().for_each(on_frame);
        frames.clear();
    });
}

/// Maximum number of recorded frames; more are not counted. A datagram can hold several packets, and packets that were
/// received before their keys are decrypted together.
const MAX_NOTED: usize = 4096;

fn note(frame: StreamFrame) {
    STREAMS.with_borrow_mut(|frames| {
        let has_room = frames.len() < MAX_NOTED;
        match frames.last_mut() {
            Some(last) if last.stream == frame.stream && last.offset.saturating_add(last.length) == frame.offset => {
                last.length = last.length.saturating_add(frame.length);
            }
            _ if has_room => frames.push(frame),
            _ => {}
        }
    });
}

/// Returns whether the data of the frame may be buffered: not that of a request which is complete with this frame.
fn may_wait(frame: &StreamFrame) -> bool {
    let is_request = frame.stream.is_multiple_of(4); // bidirectional, of the client (RFC 9000 section 2.1)
    is_request && frame.length > 0 && !(frame.offset == 0 && frame.is_last)
}

/// A TLS configuration whose sessions remove padding.
pub(crate) struct TrimPadding<C>(pub(crate) Arc<C>);

impl<C: ServerConfig + 'static> ServerConfig for TrimPadding<C> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid).map(trim)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(TrimPaddingSession(self.0.clone().start_session(version, params)))
    }
}

struct TrimPaddingSession(Box<dyn Session>);

impl Session for TrimPaddingSession {
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
        let was_handshaking = self.0.is_handshaking();
        let has_data = self.0.read_handshake(buf)?;
        if was_handshaking && !self.0.is_handshaking() {
            establish::on_complete()?;
        }
        Ok(has_data)
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
    Box::new(TrimPaddingKey { key, received: AtomicU64::new(0), waiting: AtomicU64::new(0) })
}

/// Bytes after which the counts of older packets are halved.
const RECENT: u64 = 256 * 1024;

struct TrimPaddingKey {
    key: Box<dyn PacketKey>,
    /// Bytes of recent packets.
    received: AtomicU64,
    /// Bytes of data in them that may wait to be read. Packets lie several to a buffer, so one with much data among others
    /// with none keeps as much memory as one with little.
    waiting: AtomicU64,
}

impl TrimPaddingKey {
    /// Whether less than half of what this connection sends lately is data that may wait; `waiting` of `received` bytes are
    /// those of one more packet.
    fn is_sparse(&self, received: usize, waiting: u64) -> bool {
        let mut all = self.received.load(Relaxed) + received as u64;
        let mut data = self.waiting.load(Relaxed) + waiting;
        if all > RECENT {
            (all, data) = (all / 2, data / 2);
        }
        self.received.store(all, Relaxed);
        self.waiting.store(data, Relaxed);
        data * 2 < all
    }
}

impl PacketKey for TrimPaddingKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.key.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.key.decrypt(packet, header, payload).inspect_err(|_| UNDECRYPTABLE.set(true))?;
        let received = payload.len();
        let mut waiting = 0;
        let length = padding::walk(payload, |frame| {
            if may_wait(&frame) {
                waiting += frame.length;
                note(frame);
            }
        });
        payload.truncate(length);
        if self.is_sparse(received, waiting) && waiting > 0 {
            *payload = BytesMut::from(payload.as_ref());
        }
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.key.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.key.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.key.integrity_limit()
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
        assert_eq!(taken(), []);
        let mut forged = BytesMut::from(packet.get(header.len()..).unwrap());
        assert!(!take_undecryptable());
        receiver.decrypt(8, header, &mut forged).unwrap_err();
        assert!(take_undecryptable() && !take_undecryptable());
    }
    fn taken() -> Vec<StreamFrame> {
        let mut taken = Vec::new();
        take_streams(|frame| taken.push(*frame));
        taken
    }

    /// What comes of a packet with these frames, which lies in a larger buffer, and whether it is still in that buffer.
    fn received(receiver: &dyn PacketKey, sender: &dyn PacketKey, frames: &[u8]) -> (BytesMut, bool) {
        let mut packet = [frames, &[0; 16]].concat();
        sender.encrypt(7, &mut packet, 0);
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        buffer.extend_from_slice(&packet);
        let before = buffer.as_ptr();
        let mut payload = buffer.split();
        receiver.decrypt(7, b"", &mut payload).unwrap();
        let is_inside = payload.as_ptr() == before;
        (payload, is_inside)
    }

    #[test]
    fn little_data_in_much_padding_is_copied_and_much_is_not() {
        let (client, server) = (keys(rustls::Side::Client), keys(rustls::Side::Server));
        let sender: Box<dyn PacketKey> = Box::new(client.local.packet);
        let receiver = trim_key(Box::new(server.remote.packet));
        let frame = |stream, offset, length, is_last| StreamFrame { stream, offset, length, is_last };
        let full = [&[0x0a, 4, 0x44, 0xb0], [7; 1200].as_slice()].concat();
        for _ in 0..9 {
            let (payload, is_inside) = received(&*receiver, &*sender, &full);
            assert!(payload == full && is_inside, "an ordinary upload");
            assert_eq!(taken(), [frame(4, 0, 1200, false)]);
        }
        let whole = [&[0x0b, 8, 30], [7; 30].as_slice(), &[0; 1000]].concat();
        assert!(received(&*receiver, &*sender, &whole).1, "a request that is read at once");
        assert_eq!(taken(), []);
        let sparse = [&[0x0e, 4, 1, 2, 7, 7], [0; 1200].as_slice()].concat();
        let copied = (0..20).filter(|_| !received(&*receiver, &*sender, &sparse).1).count();
        assert!((8..20).contains(&copied), "{copied} of 20, once there is more of them than of the upload");
        assert_eq!(taken().first(), Some(&frame(4, 1, 2, false)));
        // Full packets among empty ones keep the memory of those.
        let ping = [&[1], [0; 1200].as_slice()].concat();
        let mut inside = 0;
        for _ in 0..100 {
            received(&*receiver, &*sender, &ping);
            received(&*receiver, &*sender, &ping);
            inside += usize::from(received(&*receiver, &*sender, &full).1);
        }
        assert!(inside < 20, "{inside} of 100");
    }

    #[test]
    fn frames_that_are_not_taken_are_bounded_and_neighbours_are_one() {
        let frame = |stream, offset, length| StreamFrame { stream, offset, length, is_last: false };
        assert!(!may_wait(&frame(4, 7, 0)), "nothing");
        assert!(!may_wait(&frame(2, 0, 9)), "not a request");
        assert!(may_wait(&frame(4, 7, 1)));
        taken();
        for offset in 0..10 {
            note(frame(4, offset * 3, 3));
        }
        note(frame(8, 30, 3));
        note(frame(8, 34, 3));
        assert_eq!(taken(), [frame(4, 0, 30), frame(8, 30, 3), frame(8, 34, 3)]);
        for index in 0..5000 {
            note(frame(4 * index, 0, 3));
        }
        note(frame(4 * 4095, 3, 3));
        let taken = taken();
        assert_eq!((taken.len(), taken.last()), (MAX_NOTED, Some(&frame(4 * 4095, 0, 6))));
    }
}
