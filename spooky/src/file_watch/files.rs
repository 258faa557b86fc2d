//! The files that a reload reads.

use spooky_config::{Config, ListenTls, UpstreamTls};
use std::path::PathBuf;

/// Returns the files of certificates, keys, authorities, revocation lists and OCSP responses, and directories of
/// authorities, of listeners and upstreams.
pub(crate) fn certificate_files(config: &Config) -> Vec<PathBuf> {
    let listeners = config.listeners.iter().flat_map(|listener| of_listener(&listener.tls));
    let upstreams = config.upstreams.iter().flat_map(|upstream| of_upstream(&upstream.tls));
    listeners.chain(upstreams).collect()
}

fn of_listener(tls: &ListenTls) -> Vec<PathBuf> {
    let auth = &tls.client_auth;
    let single = [&tls.cert, &tls.key, &tls.ocsp_file, &auth.ca_file, &auth.crl_file].into_iter().flatten();
    let pairs = tls.certificates.iter().flat_map(|pair| [Some(&pair.cert), Some(&pair.key), pair.ocsp_file.as_ref()]);
    single.chain(pairs.flatten()).cloned().collect()
}

fn of_upstream(tls: &UpstreamTls) -> Vec<PathBuf> {
    [&tls.ca_file, &tls.ca_dir, &tls.client_cert, &tls.client_key].into_iter().flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_that_a_reload_reads_is_found() {
        let text = "listen: { tls: { cert: c, key: k, ocsp_file: o, certificates: [ { server_name: a.example, cert: c2, \
                    key: k2, ocsp_file: o2 } ], client_auth: { enabled: true, ca_file: ca, crl_file: crl } } }\n\
                    upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"https://h:1\" } ], \
                    tls: { ca_file: u-ca, client_cert: u-c, client_key: u-k } } }";
        let config = spooky_config::parse(text, "f", &|_| None).unwrap().config;
        let mut found: Vec<_> = certificate_files(&config).iter().map(|path| path.display().to_string()).collect();
        found.sort();
        assert_eq!(found, ["c", "c2", "ca", "crl", "k", "k2", "o", "o2", "u-c", "u-ca", "u-k"]);
        let folder = text.replace("ca_file: u-ca", "ca_dir: u-dir");
        let config = spooky_config::parse(&folder, "f", &|_| None).unwrap().config;
        assert!(certificate_files(&config).contains(&Path::new("u-dir").to_owned()));
    }
}
