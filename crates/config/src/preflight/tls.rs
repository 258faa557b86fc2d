//! Checks certificates, keys and certificate authorities of listeners and upstreams.

use std::collections::HashSet;
use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::{Preflight, certificate, os_text, read_limited, texts, unix_time};
use crate::file::tls::{ListenTls, UpstreamTls};
use crate::ocsp::OcspStatus;
use crate::pem;
use crate::spec::Text;
use crate::spec::text::fill;

/// Certificates that expire within this time cause a warning.
const NOTICE_SECONDS: i64 = 14 * 24 * 3600;

impl Preflight<'_> {
    pub(super) fn check_tls(&mut self) {
        let config = &self.loaded.config;
        for listener in &config.listeners {
            self.check_listener(&format!("{}.tls", listener.key), &listener.tls);
        }
        self.check_upstream("upstream_tls", &config.upstream_tls);
        // An upstream without a `tls` block uses the global block, which is checked above.
        let written = self.loaded.tree.entry("upstream").map_or(&[][..], |entry| entry.node.entries());
        let written = written.iter().filter(|entry| entry.node.entry("tls").is_some());
        let written: HashSet<&str> = written.map(|entry| entry.name.as_str()).collect();
        for upstream in config.upstreams.iter().filter(|upstream| written.contains(&*upstream.name)) {
            self.check_upstream(&format!("upstream.{}.tls", upstream.name), &upstream.tls);
        }
    }

    fn check_listener(&mut self, path: &str, tls: &ListenTls) {
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            let leaf = self.check_pair(&format!("{path}.cert"), cert, &format!("{path}.key"), key, None);
            self.check_ocsp(&format!("{path}.ocsp_file"), tls.ocsp_file.as_deref(), leaf);
        }
        for (index, entry) in tls.certificates.iter().enumerate() {
            let path = format!("{path}.certificates[{index}]");
            let (cert, key) = (format!("{path}.cert"), format!("{path}.key"));
            let leaf = self.check_pair(&cert, &entry.cert, &key, &entry.key, Some(&entry.server_name));
            self.check_ocsp(&format!("{path}.ocsp_file"), entry.ocsp_file.as_deref(), leaf);
        }
        let client = &tls.client_auth;
        if let Some(file) = &client.ca_file {
            self.check_ca_file(&format!("{path}.client_auth.ca_file"), file);
        }
        if let Some(file) = &client.crl_file {
            let path = format!("{path}.client_auth.crl_file");
            let bytes = self.read(&path, file, texts::FILE_MISSING, texts::FILE_UNREADABLE);
            if let Some(error) = bytes.and_then(|bytes| pem::revocation_lists(&bytes).err()) {
                self.report_pem_error(&path, file, error, texts::CRL_NO_BLOCK, texts::PEM_UNREAD);
            }
        }
    }

    fn check_upstream(&mut self, path: &str, tls: &UpstreamTls) {
        if let Some(file) = &tls.ca_file {
            self.check_ca_file(&format!("{path}.ca_file"), file);
        }
        if let Some(directory) = &tls.ca_dir {
            self.check_ca_dir(&format!("{path}.ca_dir"), directory);
        }
        if let (Some(cert), Some(key)) = (&tls.client_cert, &tls.client_key) {
            self.check_pair(&format!("{path}.client_cert"), cert, &format!("{path}.client_key"), key, None);
        }
    }

    /// Checks a certificate with its key. The certificate must cover `name`. Returns it if it could be read.
    fn check_pair(
        &mut self,
        cert_path: &str,
        cert: &Path,
        key_path: &str,
        key: &Path,
        name: Option<&str>,
    ) -> Option<CertificateDer<'static>> {
        let (cert_text, key_text) = (cert.display().to_string(), key.display().to_string());
        let chain = self.read(cert_path, cert, texts::CERT_MISSING, texts::CERT_UNREADABLE);
        let secret = self.read(key_path, key, texts::KEY_MISSING, texts::KEY_UNREADABLE);
        let chain = chain.and_then(|bytes| {
            let failed =
                |error| self.report_pem_error(cert_path, cert, error, texts::CERT_NO_BLOCK, texts::CERT_INVALID);
            pem::certificates(&bytes).map_err(failed).ok()
        });
        let secret = secret.and_then(|bytes| {
            let failed = |error| self.report_pem_error(key_path, key, error, texts::KEY_NO_BLOCK, texts::KEY_INVALID);
            pem::private_key(&bytes).map_err(failed).ok()
        });
        let chain = chain?;
        match secret.map(|secret| certificate::key_matches(&chain, &secret)) {
            Some(None) => self.report(key_path, texts::KEY_INVALID.hint(""), &[("p", &key_text)]),
            Some(Some(false)) => self.report(key_path, texts::KEY_MISMATCH, &[("p", &key_text), ("c", &cert_text)]),
            Some(Some(true)) | None => {}
        }
        if let Some(name) = name.filter(|name| !certificate::covers(&chain, name)) {
            let path = format!("{}server_name", cert_path.trim_end_matches("cert"));
            self.report(&path, texts::NOT_COVERED, &[("n", name), ("p", &cert_text)]);
        }
        self.report_expiry(cert_path, cert, chain.get(..1).unwrap_or_default());
        chain.into_iter().next()
    }

    /// Checks an OCSP response, which must be about the certificate `leaf`.
    fn check_ocsp(&mut self, path: &str, file: Option<&Path>, leaf: Option<CertificateDer<'_>>) {
        let Some(file) = file else { return };
        let bytes = self.read(path, file, texts::OCSP_MISSING, texts::FILE_UNREADABLE);
        let (Some(bytes), Some(leaf)) = (bytes, leaf) else { return };
        let text = file.display().to_string();
        match OcspStatus::read(&bytes, &leaf) {
            Ok(status) => {
                if let Some((notice, date)) = ocsp_notice(&status, self.now) {
                    self.report(path, notice, &[("p", &text), ("date", &date)]);
                }
            }
            Err(reason) => self.report(path, texts::OCSP_UNUSABLE, &[("p", &text), ("reason", reason)]),
        }
    }

    fn report_expiry(&mut self, path: &str, file: &Path, certificates: &[CertificateDer<'_>]) {
        if let Some((text, date)) = expiry_notice(certificates, self.now) {
            self.report(path, text, &[("p", &*file.display().to_string()), ("date", &date)]);
        }
    }

    /// Reports why a PEM file cannot be used. `no_block` and `invalid` are the messages for this kind of file.
    fn report_pem_error(&mut self, path: &str, file: &Path, error: pem::Error, no_block: Text, invalid: Text) {
        let (text, detail) = match error {
            pem::Error::NoBlock => (no_block, None),
            pem::Error::Encrypted => (texts::KEY_ENCRYPTED, None),
            pem::Error::Invalid(detail) => (invalid, Some(detail)),
            pem::Error::Unused(detail) => (texts::PEM_UNREAD, Some(detail)),
        };
        let (line, reason) = detail.map_or((0, ""), |detail| (detail.line, detail.reason));
        let arguments = [("p", &*file.display().to_string()), ("n", &line.to_string()), ("reason", reason)];
        self.report(path, text, &arguments);
    }

    fn check_ca_file(&mut self, path: &str, file: &Path) {
        let Some(bytes) = self.read(path, file, texts::FILE_MISSING, texts::FILE_UNREADABLE) else { return };
        if let Err(error) = pem::authorities(&bytes) {
            return self.report_pem_error(path, file, error, texts::CA_NO_BLOCK, texts::CERT_INVALID);
        }
        self.report_expiry(path, file, &pem::certificates(&bytes).unwrap_or_default());
    }

    fn check_ca_dir(&mut self, path: &str, directory: &Path) {
        let text = directory.display().to_string();
        let arguments = [("p", text.as_str())];
        match std::fs::metadata(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.report(path, texts::FILE_MISSING, &arguments);
            }
            Err(error) => self.report(path, texts::FILE_UNREADABLE, &[("p", &text), ("reason", &os_text(&error))]),
            Ok(kind) if !kind.is_dir() => self.report(path, texts::CA_DIR_NOT_DIR, &arguments),
            Ok(_) => {
                self.files.push((directory.to_owned(), path.to_owned()));
                if !self.check_ca_files(path, directory) {
                    self.report(path, texts::CA_DIR_EMPTY, &arguments);
                }
            }
        }
    }

    /// Checks the files of a directory; skips files without PEM blocks. Returns false if no file contains a certificate or
    /// was reported.
    fn check_ca_files(&mut self, path: &str, directory: &Path) -> bool {
        let mut is_used = false;
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in files.filter(|file| is_certificate_name(file)) {
            match read_limited(&file).map(|bytes| pem::authorities(&bytes)) {
                Ok(Ok(_)) => {}
                Ok(Err(pem::Error::NoBlock)) => continue,
                Ok(Err(error)) => self.report_pem_error(path, &file, error, texts::CA_NO_BLOCK, texts::CERT_INVALID),
                Err(error) => {
                    let arguments = [("p", &*file.display().to_string()), ("reason", &*os_text(&error))];
                    self.report(path, texts::FILE_UNREADABLE, &arguments);
                }
            }
            is_used = true;
        }
        is_used
    }
}

/// Returns the warning, and a date, if all of these certificates have expired or expire soon.
fn expiry_notice(certificates: &[CertificateDer<'_>], now: i64) -> Option<(Text, String)> {
    let ends = certificates.iter().filter_map(|certificate| certificate::expiry(certificate));
    let (end, date) = ends.max().filter(|(end, _)| *end <= now.saturating_add(NOTICE_SECONDS))?;
    Some((if end <= now { texts::EXPIRED } else { texts::EXPIRES }, date))
}

/// Returns the warning, and a date, if a response is not stapled or must alarm the operator.
fn ocsp_notice(status: &OcspStatus, now: i64) -> Option<(Text, String)> {
    let (end, date) = certificate::ocsp_expiry(status)?;
    if end <= now {
        Some((texts::OCSP_EXPIRED, date))
    } else {
        status.is_revoked.then_some((texts::OCSP_REVOKED, date))
    }
}

/// Returns the warning if this OCSP response is not stapled because its time has passed, or says that the certificate in
/// the other file is revoked. Returns `None` if a file cannot be read.
pub fn ocsp_warning(response: &Path, certificate: &Path) -> Option<String> {
    let leaf = pem::certificates(&read_limited(certificate).ok()?).ok()?.into_iter().next()?;
    let status = OcspStatus::read(&read_limited(response).ok()?, &leaf).ok()?;
    let (text, date) = ocsp_notice(&status, unix_time())?;
    Some(filled(text, response, &date))
}

/// Returns the warning if the first certificate of this file, of all if they are authorities, has expired or expires soon.
/// Returns `None` if the file cannot be read.
pub fn expiry_warning(file: &Path, are_authorities: bool) -> Option<String> {
    let all = pem::certificates(&read_limited(file).ok()?).ok()?;
    let (text, date) = expiry_notice(if are_authorities { &all } else { all.get(..1)? }, unix_time())?;
    Some(filled(text, file, &date))
}

fn filled(text: Text, file: &Path, date: &str) -> String {
    fill(text.template, |name| match name {
        "p" => Some(file.display().to_string()),
        "date" => Some(date.to_owned()),
        _ => None,
    })
}

fn is_certificate_name(file: &Path) -> bool {
    let kind = file.extension().and_then(|kind| kind.to_str());
    kind.is_some_and(|kind| ["pem", "crt", "cer"].iter().any(|known| known.eq_ignore_ascii_case(kind)))
}
