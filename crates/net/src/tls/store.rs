//! The certificates of one listener and which of them a client is shown.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::material::{CertificateFiles, TlsMaterialError, certify};
use super::x509;

/// A certificate for clients that ask for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFiles {
    /// A DNS name, or `*.suffix` for all names below a suffix.
    pub server_name: String,
    /// Where it is.
    pub files: CertificateFiles,
}

/// How often each kind of choice was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selections {
    /// The client's name is that of an entry.
    pub exact: u64,
    /// The client's name is below the suffix of an entry.
    pub wildcard: u64,
    /// Another name, or none.
    pub fallback: u64,
}

/// The certificates of a listener. Unchanging: a reload makes a new one.
///
/// The choice is: the exact name, then the longest wildcard, then the default, which is the first entry where no
/// default is configured. An unknown name is not refused.
pub struct Store {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By suffix, without `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    fallback: Arc<CertifiedKey>,
    counts: [AtomicU64; 3],
}

enum Choice {
    Exact,
    Wildcard,
    Fallback,
}

impl Store {
    /// Loads the files of one listener, whose section is `section` (as in `listen.tls`), and checks that every entry's
    /// certificate is valid for the entry's name.
    pub fn load(
        section: &str,
        default: Option<&CertificateFiles>,
        named: &[NamedFiles],
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
        Self::new(default, entries).ok_or_else(|| TlsMaterialError::NothingToServe(section.to_owned()))
    }

    /// A store with one certificate, for every client.
    ///
    /// Errors: when key and certificate do not match or are of no use.
    pub fn single(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsMaterialError> {
        let certified = certify(chain, key)?;
        Self::new(Some(certified), Vec::new()).ok_or_else(|| TlsMaterialError::NothingToServe(String::new()))
    }

    /// A store of certificates already loaded. `None` when there is none at all.
    pub fn new(default: Option<CertifiedKey>, named: Vec<(String, CertifiedKey)>) -> Option<Self> {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        let mut fallback = default.map(Arc::new);
        for (name, certified) in named {
            let certified = Arc::new(certified);
            fallback.get_or_insert_with(|| Arc::clone(&certified));
            let name = normalize(&name);
            match name.strip_prefix("*.") {
                Some(suffix) => wildcard.insert(suffix.to_owned(), certified),
                None => exact.insert(name, certified),
            };
        }
        Some(Self { exact, wildcard, fallback: fallback?, counts: Default::default() })
    }

    /// The certificate for a client that asks for `name`, or for none.
    pub fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        self.find(name).1
    }

    fn find(&self, name: Option<&str>) -> (Choice, &Arc<CertifiedKey>) {
        let name = name.map(normalize).unwrap_or_default();
        if let Some(certified) = self.exact.get(&name) {
            return (Choice::Exact, certified);
        }
        let mut rest = name.as_str();
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(certified) = self.wildcard.get(suffix) {
                return (Choice::Wildcard, certified);
            }
            rest = suffix;
        }
        (Choice::Fallback, &self.fallback)
    }

    /// Whether a request for `host`, on a connection whose client asked for the name `sni`, belongs to another entry
    /// than the certificate in use, which is not valid for that host (RFC 9110 section 15.5.20: 421).
    pub fn is_misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        let Some(sni) = sni else { return false };
        let (used, wanted) = (self.choose(Some(sni)), self.find(Some(host)));
        !matches!(wanted.0, Choice::Fallback) && !Arc::ptr_eq(used, wanted.1) && !covers(used, host)
    }

    /// The choices made so far.
    pub fn selections(&self) -> Selections {
        let [exact, wildcard, fallback] = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Selections { exact, wildcard, fallback }
    }

    /// Until when each certificate is valid, by the name of its entry; the default, also where it is the first entry,
    /// is `default`. Certificates that do not tell are left out.
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        let named = self.exact.iter().map(|(name, certified)| (name.clone(), certified));
        let wild = self.wildcard.iter().map(|(suffix, certified)| (format!("*.{suffix}"), certified));
        let all = std::iter::once(("default".to_owned(), &self.fallback)).chain(named).chain(wild);
        all.filter_map(|(name, certified)| Some((name, x509::expiry(certified.cert.first()?)?))).collect()
    }

    /// Names of the entries, in no order.
    pub fn names(&self) -> Vec<String> {
        let wild = self.wildcard.keys().map(|suffix| format!("*.{suffix}"));
        self.exact.keys().cloned().chain(wild).collect()
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (choice, certified) = self.find(client_hello.server_name());
        let [exact, wildcard, fallback] = &self.counts;
        let count = match choice {
            Choice::Exact => exact,
            Choice::Wildcard => wildcard,
            Choice::Fallback => fallback,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(certified))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("names", &self.names()).finish_non_exhaustive()
    }
}

fn normalize(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether the certificate is valid for `name`, which may be `*.suffix`.
fn covers(certified: &CertifiedKey, name: &str) -> bool {
    // A wildcard of the certificate stands for exactly one label, so any label stands for all of them.
    let name =
        name.strip_prefix("*.").map_or_else(|| normalize(name), |suffix| normalize(&format!("any-label.{suffix}")));
    let Ok(name) = ServerName::try_from(name) else { return false };
    let certificate = certified.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, &name).is_ok())
}
