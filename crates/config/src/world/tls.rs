//! Certificates, keys and authorities of listeners and upstreams.

use std::collections::HashSet;
use std::path::Path;

use super::material::{self, Fault};
use super::{World, os_text, read_limited, texts};
use crate::file::tls::{ListenTls, UpstreamTls};

/// Days before the end of a certificate from which it is warned of.
const NOTICE_SECONDS: i64 = 14 * 24 * 3600;

impl World<'_> {
    pub(super) fn check_tls(&mut self) {
        let config = &self.loaded.config;
        for listener in &config.listeners {
            self.check_listener(&format!("{}.tls", listener.key), &listener.tls);
        }
        self.check_upstream("upstream_tls", &config.upstream_tls);
        // A block that is not written is the global one, which is checked.
        let written = self.loaded.tree.entry("upstream").map_or(&[][..], |entry| entry.node.entries());
        let written = written.iter().filter(|entry| entry.node.entry("tls").is_some());
        let written: HashSet<&str> = written.map(|entry| entry.name.as_str()).collect();
        for upstream in config.upstreams.iter().filter(|upstream| written.contains(&*upstream.name)) {
            self.check_upstream(&format!("upstream.{}.tls", upstream.name), &upstream.tls);
        }
    }

    fn check_listener(&mut self, path: &str, tls: &ListenTls) {
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            self.check_pair(&format!("{path}.cert"), cert, &format!("{path}.key"), key, None);
        }
        if let Some(file) = &tls.ocsp_file {
            self.read(&format!("{path}.ocsp_file"), file, texts::OCSP_MISSING, texts::FILE_UNREADABLE);
        }
        for (index, entry) in tls.certificates.iter().enumerate() {
            let path = format!("{path}.certificates[{index}]");
            let (cert, key) = (format!("{path}.cert"), format!("{path}.key"));
            self.check_pair(&cert, &entry.cert, &key, &entry.key, Some(&entry.server_name));
            if let Some(file) = &entry.ocsp_file {
                self.read(&format!("{path}.ocsp_file"), file, texts::OCSP_MISSING, texts::FILE_UNREADABLE);
            }
        }
        let client = &tls.client_auth;
        if let Some(file) = &client.ca_file {
            self.check_ca_file(&format!("{path}.client_auth.ca_file"), file);
        }
        if let Some(file) = &client.crl_file {
            let path = format!("{path}.client_auth.crl_file");
            let bytes = self.read(&path, file, texts::FILE_MISSING, texts::FILE_UNREADABLE);
            if bytes.is_some_and(|bytes| !material::has_revocation_lists(&bytes)) {
                self.report(&path, texts::CRL_NO_BLOCK, &[("p", &file.display().to_string())]);
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

    /// A certificate with its key, and the name that it must cover.
    fn check_pair(&mut self, cert_path: &str, cert: &Path, key_path: &str, key: &Path, name: Option<&str>) {
        let (cert_text, key_text) = (cert.display().to_string(), key.display().to_string());
        let chain = self.read(cert_path, cert, texts::CERT_MISSING, texts::CERT_UNREADABLE);
        let secret = self.read(key_path, key, texts::KEY_MISSING, texts::KEY_UNREADABLE);
        let chain = chain.and_then(|bytes| match material::certificates(&bytes) {
            Ok(chain) => Some(chain),
            Err(fault) => {
                let text = if fault == Fault::NoBlock { texts::CERT_NO_BLOCK } else { texts::CERT_INVALID };
                self.report(cert_path, text, &[("p", &cert_text)]);
                None
            }
        });
        let secret = secret.and_then(|bytes| match material::private_key(&bytes) {
            Ok(secret) => Some(secret),
            Err(fault) => {
                let text = if fault == Fault::NoBlock { texts::KEY_NO_BLOCK } else { texts::KEY_INVALID };
                self.report(key_path, text, &[("p", &key_text)]);
                None
            }
        });
        let Some(chain) = chain else { return };
        match secret.map(|secret| material::key_matches(&chain, &secret)) {
            Some(Err(_)) => self.report(key_path, texts::KEY_INVALID, &[("p", &key_text)]),
            Some(Ok(false)) => self.report(key_path, texts::KEY_MISMATCH, &[("p", &key_text), ("c", &cert_text)]),
            Some(Ok(true)) | None => {}
        }
        if let Some(name) = name.filter(|name| !material::covers(&chain, name)) {
            let path = format!("{}server_name", cert_path.trim_end_matches("cert"));
            self.report(&path, texts::NOT_COVERED, &[("n", name), ("p", &cert_text)]);
        }
        if let Some((end, date)) =
            material::expiry(&chain).filter(|(end, _)| *end <= self.now.saturating_add(NOTICE_SECONDS))
        {
            let text = if end <= self.now { texts::EXPIRED } else { texts::EXPIRES };
            self.report(cert_path, text, &[("p", &cert_text), ("date", &date)]);
        }
    }

    fn check_ca_file(&mut self, path: &str, file: &Path) {
        let text = file.display().to_string();
        if let Some(bytes) = self.read(path, file, texts::FILE_MISSING, texts::FILE_UNREADABLE) {
            match material::certificates(&bytes) {
                Ok(_) => {}
                Err(Fault::NoBlock) => self.report(path, texts::CA_NO_BLOCK, &[("p", &text)]),
                Err(Fault::Invalid) => self.report(path, texts::CERT_INVALID, &[]),
            }
        }
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
                let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
                let mut files = files.filter(|file| is_certificate_name(file));
                let usable = |file: std::path::PathBuf| {
                    read_limited(&file).is_ok_and(|bytes| material::certificates(&bytes).is_ok())
                };
                if !files.any(usable) {
                    self.report(path, texts::CA_DIR_EMPTY, &arguments);
                }
            }
        }
    }
}

/// `.pem`, `.crt` and `.cer`.
fn is_certificate_name(file: &Path) -> bool {
    let kind = file.extension().and_then(|kind| kind.to_str());
    kind.is_some_and(|kind| ["pem", "crt", "cer"].iter().any(|known| known.eq_ignore_ascii_case(kind)))
}
