//! Announces `disable_active_migration` to clients, but still accepts clients whose address changes (NAT rebinding).
//!
//! With quinn-proto's own option, packets from a new address are ignored as well, which disconnects clients after a NAT
//! rebinding. Here only the parameter is announced. If the address changes anyway, the new path is validated as usual, which
//! RFC 9000 section 9 allows.

use quinn_proto::{
    ConnectionId, Side,
    crypto::{Keys, ServerConfig, Session, UnsupportedVersion},
    transport_parameters::TransportParameters,
};
use std::sync::Arc;

/// The transport parameter, which has no value (RFC 9000 section 18.2): id and length.
const DISABLE_ACTIVE_MIGRATION: [u8; 2] = [0x0c, 0];

/// A TLS configuration that adds the parameter.
pub(crate) struct NoActiveMigration<C>(pub(crate) Arc<C>);

impl<C: ServerConfig> ServerConfig for NoActiveMigration<C> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        self.0.clone().start_session(version, &forbid(params))
    }
}

/// Adds the parameter. `TransportParameters` is opaque, but can be encoded and decoded.
fn forbid(params: &TransportParameters) -> TransportParameters {
    let mut bytes = Vec::new();
    params.write(&mut bytes);
    bytes.extend(DISABLE_ACTIVE_MIGRATION);
    TransportParameters::read(Side::Client, &mut &*bytes).unwrap_or(*params)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `initial_max_data` of 77, a stateless reset token, and the first source id `abcd`.
    const WIRE: [u8; 26] =
        [4, 2, 0x40, 77, 2, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x0f, 2, 0xab, 0xcd];

    #[test]
    fn the_announcement_is_added_and_nothing_else_changes() {
        let before = TransportParameters::read(Side::Client, &mut &WIRE[..]).unwrap();
        let after = forbid(&before);
        let written = |params: &TransportParameters| {
            let mut bytes = Vec::new();
            params.write(&mut bytes);
            bytes
        };
        let (before, after) = (written(&before), written(&after));
        let at = after.windows(2).position(|pair| pair == DISABLE_ACTIVE_MIGRATION).expect("the announcement");
        let rest: Vec<u8> = [after.get(..at).unwrap(), after.get(at + 2..).unwrap()].concat();
        assert_eq!(rest, before);
        assert!(!before.windows(2).any(|pair| pair == DISABLE_ACTIVE_MIGRATION));
    }
}
