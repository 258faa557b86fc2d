//! A certificate authority and handshakes in memory, for the tests of this module.

mod clients;
mod files;
mod selection;
mod servers;

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig, ServerConnection, SideData};
use tempfile::TempDir;

use super::material::certify;
use super::*;

/// An authority and a directory for its files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    serial: rcgen::SerialNumber,
    files: CertificateFiles,
}

impl Issued {
    fn certified(&self) -> rustls::sign::CertifiedKey {
        certify(self.chain.clone(), self.key.clone_key()).unwrap()
    }

    fn store(&self) -> CertificateStore {
        CertificateStore::new(Some(self.certified()), Vec::new()).unwrap()
    }
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // A unique name, because issuers are found by name.
        let key = KeyPair::generate().unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("authority {:?}", key.public_key_raw()));
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer, directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn ca_file(&self) -> PathBuf {
        self.write("ca.pem", self.issuer.pem())
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        // A serial number unique within this authority.
        let serial = rcgen::SerialNumber::from_slice(&key.public_key_raw()[1..9]);
        params.serial_number = Some(serial.clone());
        change(&mut params);
        if params.distinguished_name.iter().next().is_none() {
            params.distinguished_name.push(DnType::CommonName, *names.first().unwrap());
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let name = names.first().unwrap().replace('*', "any");
        let files = CertificateFiles {
            section: "listen.tls".to_owned(),
            cert: self.write(&format!("{name}.crt.pem"), certificate.pem()),
            key: self.write(&format!("{name}.key.pem"), key.serialize_pem()),
            ocsp: None,
            is_client: false,
        };
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Issued { chain: vec![certificate.der().clone()], key, serial, files }
    }

    /// Returns the options of a client that trusts this authority.
    fn trusting(&self) -> client::ClientTlsOptions {
        client::ClientTlsOptions {
            ca_file: Some(self.ca_file()),
            use_system_roots: false,
            ..client::ClientTlsOptions::default()
        }
    }
}

fn pass<A: SideData, B: SideData>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// Exchanges bytes until both sides are silent, tickets included. Returns the error of the side that fails first.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Error> {
    while pass(&mut *client, &mut *server)? | pass(&mut *server, &mut *client)? {}
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    shake(&mut client, &mut server)?;
    Ok((client, server))
}
