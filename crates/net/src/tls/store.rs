//! The certificates of one listener, and their selection by SNI.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::material::{CertificateFiles, TlsMaterialError};
use super::x509;
use spooky_config::{OcspStatus, normalize_host};

/// A certificate for one server name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCertificate {
    /// A DNS name, or `*.suffix` for all names below a suffix.
    pub server_name: String,
    /// The files of the certificate.
    pub files: CertificateFiles,
}

/// Numbers of selections. A store that replaces another one after a reload goes on with its numbers.
#[derive(Debug, Default)]
pub struct SelectionCounts([AtomicU64; 3]);

impl SelectionCounts {
    /// Returns the number of selections by each way, with its name.
    pub fn get(&self) -> [(&'static str, u64); 3] {
        let [exact, wildcard, default] = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        [("exact", exact), ("wildcard", wildcard), ("default", default)]
    }

    fn increment(&self, selection: &Selection) {
        let [exact, wildcard, default] = &self.0;
        match selection {
            Selection::Exact => exact,
            Selection::Wildcard => wildcard,
            Selection::Fallback => default,
        }
        .fetch_add(1, Ordering::Relaxed);
    }
}

/// The certificates of a listener. Immutable: a reload creates a new store.
///
/// Selects by exact name, then by the longest wildcard, then the default, which is the first entry if no default is
/// configured. An unknown name is not an error.
pub struct CertificateStore {
    exact: HashMap<String, Arc<Entry>>,
    /// By suffix, without `*.`.
    wildcard: HashMap<String, Arc<Entry>>,
    fallback: Arc<Entry>,
    counts: Arc<SelectionCounts>,
}

struct Entry {
    certified: Arc<CertifiedKey>,
    /// `None` if no OCSP response is stapled.
    staple: Option<Staple>,
    /// The DNS names that the certificate is valid for, in lower case.
    names: Vec<String>,
}

struct Staple {
    /// From then on clients would refuse the response, and with it the certificate.
    until: SystemTime,
    /// The certificate without it.
    without: Arc<CertifiedKey>,
}

impl Staple {
    fn new(certified: &CertifiedKey) -> Option<Self> {
        let status = OcspStatus::read(certified.ocsp.as_deref()?, certified.cert.first()?).ok()?;
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(status.next_update).unwrap_or(0));
        Some(Self { until, without: Arc::new(CertifiedKey { ocsp: None, ..certified.clone() }) })
    }
}

impl Entry {
    fn new(certified: CertifiedKey) -> Self {
        let names = certified.cert.first().map(|certificate| x509::dns_names(certificate)).unwrap_or_default();
        Self { staple: Staple::new(&certified), certified: Arc::new(certified), names }
    }

    /// Returns the certificate for a handshake at this time.
    fn at(&self, now: impl FnOnce() -> SystemTime) -> &Arc<CertifiedKey> {
        match &self.staple {
            Some(staple) if staple.until <= now() => &staple.without,
            Some(_) | None => &self.certified,
        }
    }

    /// Returns whether the certificate is valid for a normalized host. A wildcard matches exactly one label (RFC 9525
    /// section 6.3).
    fn covers(&self, host: &str) -> bool {
        let below = host.split_once('.').map(|(_, suffix)| suffix);
        self.names.iter().any(|name| name == host || name.strip_prefix("*.").is_some_and(|own| Some(own) == below))
    }
}

enum Selection {
    Exact,
    Wildcard,
    Fallback,
}

impl CertificateStore {
    /// Loads the files of the listener with the configuration section `section` (for example `listen.tls`) and checks
    /// that every certificate is valid for the name of its entry.
    pub fn load(
        section: &str,
        default: Option<&CertificateFiles>,
        named: &[NamedCertificate],
    ) -> Result<Self, TlsMaterialError> {
        let default = default.map(CertificateFiles::load).transpose()?;
        let mut entries = Vec::with_capacity(named.len());
        for entry in named {
            let certified = entry.files.load()?;
            if !covers(&certified, &entry.server_name) {
                let files = &entry.files;
                let (section, name) = (files.section.clone(), entry.server_name.clone());
                return Err(TlsMaterialError::NotCovered(section, name, files.cert.clone()));
            }
            entries.push((entry.server_name.clone(), certified));
        }
        Self::new(default, entries).ok_or_else(|| TlsMaterialError::NoServerCertificate(section.to_owned()))
    }

    /// Creates a store of loaded certificates. Returns `None` if there is none.
    pub fn new(default: Option<CertifiedKey>, named: Vec<(String, CertifiedKey)>) -> Option<Self> {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        let mut fallback = default.map(|certified| Arc::new(Entry::new(certified)));
        for (name, certified) in named {
            let entry = Arc::new(Entry::new(certified));
            fallback.get_or_insert_with(|| Arc::clone(&entry));
            let name = normalize_name(&name);
            match name.strip_prefix("*.") {
                Some(suffix) => wildcard.insert(suffix.to_owned(), entry),
                None => exact.insert(name, entry),
            };
        }
        Some(Self { exact, wildcard, fallback: fallback?, counts: Arc::default() })
    }

    #[cfg(test)]
    pub(super) fn select(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        &self.find(&normalize_name(name.unwrap_or_default())).1.certified
    }

    /// Returns the entry for a normalized name.
    fn find(&self, name: &str) -> (Selection, &Arc<Entry>) {
        if let Some(entry) = self.exact.get(name) {
            return (Selection::Exact, entry);
        }
        let mut rest = name;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(entry) = self.wildcard.get(suffix) {
                return (Selection::Wildcard, entry);
            }
            rest = suffix;
        }
        (Selection::Fallback, &self.fallback)
    }

    /// Returns whether a request for `host`, on a connection with the server name `sni`, belongs to another entry than
    /// the certificate in use, which is not valid for that host (RFC 9110 section 15.5.20: 421). Both names must be
    /// normalized ([`normalize_name`], [`spooky_config::normalize_host`]). Does not allocate.
    pub fn is_misdirected(&self, sni: &str, host: &str) -> bool {
        if sni == host || self.exact.is_empty() && self.wildcard.is_empty() {
            return false;
        }
        let (used, (selection, wanted)) = (self.find(sni).1, self.find(host));
        !matches!(selection, Selection::Fallback) && !Arc::ptr_eq(used, wanted) && !used.covers(host)
    }

    #[cfg(test)]
    pub(super) fn stapled_at(&self, now: SystemTime) -> Option<&[u8]> {
        self.fallback.at(|| now).ocsp.as_deref()
    }

    #[cfg(test)]
    pub(super) fn fallback_covers(&self, host: &str) -> bool {
        self.fallback.covers(host)
    }

    /// Returns the numbers of selections so far.
    pub fn selections(&self) -> &SelectionCounts {
        &self.counts
    }

    /// Goes on with the numbers of the store that this one replaces.
    #[must_use]
    pub(super) fn continuing(self, previous: Option<&Self>) -> Self {
        Self { counts: previous.map_or(self.counts, |previous| previous.counts.clone()), ..self }
    }

    /// Returns when each certificate expires, by the name of its entry. The default is named `default`, even if it is
    /// the first entry. Skips certificates that cannot be parsed.
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        let named = self.exact.iter().map(|(name, entry)| (name.clone(), entry));
        let wild = self.wildcard.iter().map(|(suffix, entry)| (format!("*.{suffix}"), entry));
        let all = std::iter::once(("default".to_owned(), &self.fallback)).chain(named).chain(wild);
        all.filter_map(|(name, entry)| Some((name, x509::expiry(entry.certified.cert.first()?)?))).collect()
    }

    /// Returns the names of the entries, unordered.
    pub fn names(&self) -> Vec<String> {
        let wild = self.wildcard.keys().map(|suffix| format!("*.{suffix}"));
        self.exact.keys().cloned().chain(wild).collect()
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (selection, entry) = self.find(&normalize_name(client_hello.server_name().unwrap_or_default()));
        self.counts.increment(&selection);
        Some(Arc::clone(entry.at(SystemTime::now)))
    }
}

impl fmt::Debug for CertificateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateStore").field("names", &self.names()).finish_non_exhaustive()
    }
}

/// Normalizes a name of SNI or of an entry for comparison with hosts.
pub fn normalize_name(name: &str) -> String {
    let mut normal = Vec::with_capacity(name.len());
    normalize_host(name.as_bytes(), &mut normal);
    String::from_utf8(normal).unwrap_or_default()
}

/// Returns whether the certificate is valid for `name`, which may be `*.suffix`.
fn covers(certified: &CertifiedKey, name: &str) -> bool {
    // A wildcard of the certificate matches any single label, so one label stands for all.
    let name = name
        .strip_prefix("*.")
        .map_or_else(|| normalize_name(name), |suffix| normalize_name(&format!("any-label.{suffix}")));
    let Ok(name) = ServerName::try_from(name) else { return false };
    let certificate = certified.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, &name).is_ok())
}
