//! Tests each message about files.

use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::problem::Severity;

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

/// A temporary directory.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spooky-config-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let room = Self(path);
        let (cert, key) = pair(&["a.example", "*.w.example"], 2100);
        room.write("cert.pem", &cert);
        room.write("key.pem", &key);
        room.write("other.key", &pair(&["b.example"], 2100).1);
        room.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        room.write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        room.write("broken.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        room.write("encrypted.key", ENCRYPTED);
        room.write("glued.pem", &format!("\u{feff}{}{}", cert.trim_end(), pair(&["c.example"], 2100).0));
        room.write("dash.pem", &format!("#\n#\n#\n{}{cert}", cert.replacen("-----BEGIN", "----BEGIN", 1)));
        room.write(
            "second.pem",
            &format!("#\n#\n#\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{cert}"),
        );
        room.write("broken.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
        room.write("text.txt", "nothing\n");
        room.write("empty.txt", "\n");
        room.write("secret31", &"s".repeat(31));
        room.write("secret32", &"s".repeat(32));
        fs::create_dir(room.0.join("dir")).unwrap();
        fs::create_dir(room.0.join("cas")).unwrap();
        fs::create_dir(room.0.join("badcas")).unwrap();
        fs::create_dir(room.0.join("nocas")).unwrap();
        room.write("cas/a.crt", &cert);
        room.write("cas/readme.pem", "nothing\n");
        room.write("badcas/a.crt", &cert);
        room.write("badcas/b.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        room.write("nocas/a.txt", &cert);
        room.write("nocas/a.pem", "nothing\n");
        room
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// Returns the problems of a configuration. `@` is replaced by the directory.
    fn problems(&self, listen: &str, extra: &str, now: i64) -> Vec<(Severity, String)> {
        let problems = self.check(listen, extra, now).into_iter();
        let room = self.0.display().to_string();
        problems.map(|problem| (problem.severity, problem.message.replace(&room, "@"))).collect()
    }

    /// Their hints.
    fn hints(&self, listen: &str) -> Vec<String> {
        let hints = self.check(listen, "", 0).into_iter().filter_map(|problem| problem.hint);
        hints.map(|hint| hint.replace(&self.0.display().to_string(), "@")).collect()
    }

    fn check(&self, listen: &str, extra: &str, now: i64) -> Vec<Problem> {
        let text = format!(
            "listen: {{ tls: {{ {listen} }} }}\n\
             upstream: {{ a: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}\n{extra}"
        );
        let text = text.replace('@', &self.0.display().to_string());
        let loaded = crate::parse(&text, "f", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let problems = preflight_at(&loaded, PreflightMode::Start, now).into_iter();
        problems.filter(|problem| !problem.message.contains("is not readable by user")).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pair(names: &[&str], year: i32) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.not_before = date_time_ymd(2000, 1, 1);
    parameters.not_after = date_time_ymd(year, 3, 9);
    let key = KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

const GOOD: &str = "cert: @/cert.pem, key: @/key.pem";

#[test]
fn good_material_is_not_mentioned() {
    let room = Room::new("good");
    let listen = "cert: @/cert.pem, key: @/key.pem, client_auth: { enabled: true, ca_file: @/cert.pem }, \
                  certificates: [ { server_name: x.w.example, cert: @/cert.pem, key: @/key.pem } ]";
    let extra = "upstream_tls: { ca_file: @/cert.pem, ca_dir: @/cas, client_cert: @/cert.pem, client_key: @/key.pem }\n\
                 performance: { quic_secret_file: @/secret32 }";
    assert_eq!(room.problems(listen, extra, 0), []);
}

#[test]
fn every_fault_of_a_pair_has_its_text() {
    let room = Room::new("pairs");
    for (cert, key, text) in [
        ("@/no.pem", "@/key.pem", "TLS certificate file does not exist: @/no.pem"),
        ("@/cert.pem", "@/no.key", "TLS private key file does not exist: @/no.key"),
        ("@/dir", "@/key.pem", "Cannot read TLS certificate file '@/dir': is a directory"),
        ("@/cert.pem", "@/dir", "Cannot read TLS private key file '@/dir': is a directory"),
        ("@/broken.pem", "@/key.pem", "Failed to load certificate: invalid certificate format"),
        ("@/cut.pem", "@/key.pem", "Failed to load certificate: invalid certificate format"),
        ("@/text.txt", "@/key.pem", "listen.tls.cert '@/text.txt' does not contain any PEM certificate blocks"),
        ("@/second.pem", "@/key.pem", "Failed to load certificate: invalid certificate format"),
        (
            "@/dash.pem",
            "@/key.pem",
            "listen.tls.cert '@/dash.pem' line 4: a damaged BEGIN or END marker, or an END without a BEGIN",
        ),
        ("@/cert.pem", "@/encrypted.key", "Failed to load key '@/encrypted.key': the key is encrypted"),
        ("@/cert.pem", "@/broken.key", "Failed to load key '@/broken.key': invalid key format"),
        ("@/cert.pem", "@/text.txt", "listen.tls.key '@/text.txt' does not contain a PEM private key"),
        ("@/cert.pem", "@/other.key", "Failed to load key '@/other.key': key does not match certificate '@/cert.pem'"),
    ] {
        let problems = room.problems(&format!("cert: {cert}, key: {key}"), "", 0);
        assert_eq!(problems, [(Severity::Error, text.to_owned())], "{cert} {key}");
    }
}

#[test]
fn every_fault_of_an_authority_has_its_text() {
    let room = Room::new("authorities");
    let control = "observability: { control_api: { enabled: true, auth_token_file:";
    for (listen, extra, text) in [
        ("ocsp_file: @/no", "", "OCSP response file does not exist: @/no"),
        ("client_auth: { enabled: true, ca_file: @/no }", "", "listen.tls.client_auth.ca_file does not exist: @/no"),
        (
            "client_auth: { enabled: true, ca_file: @/text.txt }",
            "",
            "listen.tls.client_auth.ca_file '@/text.txt' does not contain any PEM certificate blocks",
        ),
        (
            "client_auth: { enabled: true, ca_file: @/cert.pem, crl_file: @/text.txt }",
            "",
            "listen.tls.client_auth.crl_file '@/text.txt' does not contain any PEM revocation lists",
        ),
        ("", "upstream_tls: { ca_file: @/no }", "upstream_tls.ca_file does not exist: @/no"),
        (
            "",
            "upstream_tls: { ca_file: @/text.txt }",
            "upstream_tls.ca_file '@/text.txt' does not contain any PEM certificate blocks",
        ),
        ("", "upstream_tls: { ca_dir: @/no }", "upstream_tls.ca_dir does not exist: @/no"),
        ("", "upstream_tls: { ca_dir: @/text.txt }", "upstream_tls.ca_dir must be a directory: @/text.txt"),
        (
            "",
            "upstream_tls: { ca_dir: @/nocas }",
            "upstream_tls.ca_dir '@/nocas' did not contain any readable PEM certificates",
        ),
        ("", &format!("{control} @/no }} }}"), "observability.control_api.auth_token_file does not exist: @/no"),
        (
            "",
            &format!("{control} @/dir }} }}"),
            "Cannot read observability.control_api.auth_token_file '@/dir': is a directory",
        ),
        ("", "performance: { quic_secret_file: @/no }", "performance.quic_secret_file does not exist: @/no"),
        (
            "",
            "performance: { quic_secret_file: @/dir }",
            "Cannot read performance.quic_secret_file '@/dir': is a directory",
        ),
        (
            "",
            "performance: { quic_secret_file: @/secret31 }",
            "performance.quic_secret_file '@/secret31' must hold at least 32 bytes",
        ),
        (
            "",
            &format!("{control} @/empty.txt }} }}"),
            "observability.control_api.auth_token_file cannot be empty when provided",
        ),
    ] {
        let listen = [GOOD, listen].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        assert_eq!(room.problems(&listen, extra, 0), [(Severity::Error, text.to_owned())], "{listen} {extra}");
    }
}

#[test]
fn a_server_name_must_be_covered() {
    let room = Room::new("names");
    for (name, covered) in [
        ("a.example", true),
        ("A.Example", true),
        ("x.w.example", true),
        ("*.w.example", true),
        ("x.y.w.example", false),
        ("w.example", false),
        ("*.x.w.example", false),
        ("b.example", false),
    ] {
        let entry = format!("certificates: [ {{ server_name: \"{name}\", cert: @/cert.pem, key: @/key.pem }} ]");
        let text = format!(
            "listen.tls.certificates[0].server_name '{}' is not covered by certificate '@/cert.pem'",
            name.to_lowercase()
        );
        let expected: Vec<_> = (!covered).then_some((Severity::Error, text)).into_iter().collect();
        assert_eq!(room.problems(&entry, "", 0), expected, "{name}");
    }
}

#[test]
fn a_damaged_block_of_an_authority_or_a_list_is_named_with_its_line() {
    let room = Room::new("damaged");
    for (listen, extra, text) in [
        (
            "",
            "upstream_tls: { ca_file: @/dash.pem }",
            "upstream_tls.ca_file '@/dash.pem' line 4: a damaged BEGIN or END marker, or an END without a BEGIN",
        ),
        ("", "upstream_tls: { ca_dir: @/badcas }", "Failed to load certificate: invalid certificate format"),
        (
            "client_auth: { enabled: true, ca_file: @/dash.pem }",
            "",
            "listen.tls.client_auth.ca_file '@/dash.pem' line 4: a damaged BEGIN or END marker, or an END without a BEGIN",
        ),
        (
            "client_auth: { enabled: true, ca_file: @/cert.pem, crl_file: @/broken.crl }",
            "",
            "listen.tls.client_auth.crl_file '@/broken.crl' line 1: not a revocation list",
        ),
    ] {
        let listen = [GOOD, listen].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        assert_eq!(room.problems(&listen, extra, 0), [(Severity::Error, text.to_owned())], "{listen} {extra}");
    }
}

#[test]
fn blocks_that_touch_each_other_and_byte_order_marks_do_no_harm() {
    let room = Room::new("glued");
    let listen = "cert: @/glued.pem, key: @/key.pem, client_auth: { enabled: true, ca_file: @/glued.pem }";
    let extra = "upstream_tls: { ca_file: @/glued.pem, client_cert: @/glued.pem, client_key: @/key.pem }";
    assert_eq!(room.problems(listen, extra, 0), []);
}

#[test]
fn hints_say_where_and_what_to_do() {
    let room = Room::new("hints");
    for (cert, key, hint) in [
        ("@/second.pem", "@/key.pem", "'@/second.pem' line 4: not an X.509 certificate"),
        ("@/cut.pem", "@/key.pem", "'@/cut.pem' line 1: the block has no END marker"),
        (
            "@/cert.pem",
            "@/encrypted.key",
            "write it without a pass phrase: openssl pkey -in '@/encrypted.key' -out '@/encrypted.key.plain'",
        ),
    ] {
        assert_eq!(room.hints(&format!("cert: {cert}, key: {key}")), [hint]);
    }
}

#[test]
fn a_file_that_is_too_large_is_not_cut_off() {
    let room = Room::new("large");
    let mut large = fs::read_to_string(room.0.join("cert.pem")).unwrap();
    large.extend(std::iter::repeat_n('\n', MAX_FILE_BYTES as usize));
    room.write("large.pem", &large);
    let text = "Cannot read TLS certificate file '@/large.pem': larger than 16 MiB".to_owned();
    assert_eq!(room.problems("cert: @/large.pem, key: @/key.pem", "", 0), [(Severity::Error, text)]);
}

#[test]
fn certificates_near_their_end_are_warned_of() {
    let room = Room::new("ends");
    let end = 4_108_233_600; // 2100-03-09
    for (before_end, text) in [
        (-1, Some("certificate '@/cert.pem' expired on 2100-03-09")),
        (13 * 86_400, Some("certificate '@/cert.pem' expires on 2100-03-09")),
        (15 * 86_400, None),
    ] {
        let expected: Vec<_> = text.iter().map(|text| (Severity::Warning, (*text).to_owned())).collect();
        assert_eq!(room.problems(GOOD, "", end - before_end), expected);
    }
}

/// A file of authorities in use is renewed by adding the next one, so one that is still valid is enough.
#[test]
fn authorities_are_warned_of_when_all_of_them_end() {
    let room = Room::new("authorities");
    let (old, new) = (pair(&["old.example"], 2001).0, pair(&["new.example"], 2100).0);
    room.write("old.pem", &old);
    room.write("both.pem", &format!("{old}{new}"));
    let now = 1_577_836_800; // 2020
    let warned = |name: &str| {
        let listen = format!("{GOOD}, client_auth: {{ enabled: true, ca_file: @/{name} }}");
        room.problems(&listen, &format!("upstream_tls: {{ ca_file: @/{name} }}"), now)
    };
    let text = "certificate '@/old.pem' expired on 2001-03-09".to_owned();
    assert_eq!(warned("old.pem"), [(Severity::Warning, text.clone()), (Severity::Warning, text)]);
    assert_eq!(warned("both.pem"), []);

    // What a reload of certificates logs.
    let log = |name: &str, are_authorities| expiry_warning(&room.0.join(name), are_authorities);
    let expected = format!("certificate '{}' expired on 2001-03-09", room.0.join("old.pem").display());
    assert_eq!(log("old.pem", false), Some(expected));
    assert_eq!(log("cert.pem", false), None);
    assert!(log("both.pem", false).is_some(), "the first is that of the server");
    assert_eq!(log("both.pem", true), None);
    assert_eq!(log("lost.pem", true), None);
}

#[test]
fn an_ocsp_response_must_be_about_the_certificate_and_is_warned_of_when_its_time_has_passed() {
    const NEXT_UPDATE: i64 = 3_523_820_141; // 2081-08-30
    let room = Room::new("ocsp");
    let good = include_bytes!("../ocsp/samples/good.der");
    fs::write(room.0.join("good.der"), good).unwrap();
    fs::write(room.0.join("revoked.der"), include_bytes!("../ocsp/samples/revoked.der")).unwrap();
    let of = |serial: u64| {
        let mut parameters = CertificateParams::new(["a.example".to_owned()]).unwrap();
        parameters.serial_number = Some(serial.into());
        parameters.not_after = date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().unwrap();
        room.write("cert.pem", &parameters.self_signed(&key).unwrap().pem());
        room.write("key.pem", &key.serialize_pem());
    };
    let problems = |ocsp: &str, now| {
        let default = room.problems(&format!("{GOOD}, ocsp_file: {ocsp}"), "", now);
        let named = format!("certificates: [ {{ server_name: a.example, {GOOD}, ocsp_file: {ocsp} }} ]");
        let replaced = default.iter().map(|(severity, text)| {
            (*severity, text.replace("listen.tls.ocsp_file", "listen.tls.certificates[0].ocsp_file"))
        });
        assert_eq!(room.problems(&named, "", now), replaced.collect::<Vec<_>>());
        default
    };
    let error = |text: &str| vec![(Severity::Error, text.to_owned())];
    let warning = |text: &str| vec![(Severity::Warning, text.to_owned())];
    assert_eq!(
        problems("@/good.der", 0),
        error("listen.tls.ocsp_file '@/good.der' cannot be used: it is about another certificate")
    );
    assert_eq!(problems("@/no.der", 0), error("OCSP response file does not exist: @/no.der"));
    of(0x1122_3344_5566_7788);
    assert_eq!(problems("@/good.der", NEXT_UPDATE - 1), []);
    assert_eq!(problems("@/good.der", NEXT_UPDATE), warning("OCSP response '@/good.der' expired on 2081-08-30"));
    assert_eq!(
        problems("@/text.txt", 0),
        error("listen.tls.ocsp_file '@/text.txt' cannot be used: it is not an OCSP response in DER")
    );
    // What a reload of certificates logs.
    let log = |name: &str| ocsp_warning(&room.0.join(name), &room.0.join("cert.pem"));
    assert_eq!(log("good.der"), None);
    of(0x2122_3344_5566_7788);
    let revoked = "OCSP response '@/revoked.der' says that the certificate is revoked";
    assert_eq!(problems("@/revoked.der", 0), warning(revoked));
    assert_eq!(log("revoked.der"), Some(revoked.replace('@', &room.0.display().to_string())));
    assert_eq!(log("good.der"), None, "an error is reported by the reload itself");
}

#[test]
fn places_are_those_of_the_keys() {
    let text = "listen:\n  tls:\n    cert: /no/cert\n    key: /no/key\n\
                upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] } }\n";
    let loaded = crate::parse(text, "f", &|_| None).unwrap();
    let problems = preflight_at(&loaded, PreflightMode::Start, 0);
    let spans: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column, problem.path.as_str())).collect();
    assert_eq!(spans, [(3, 11, "listen.tls.cert"), (4, 10, "listen.tls.key")]);
}

/// Returns what is said about the number of workers on a machine with this many cores.
fn worker_problems(performance: &str, cores: usize) -> Vec<String> {
    let text = format!(
        "listen: {{ tls: {{ cert: c, key: k }} }}\n\
         upstream: {{ a: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}\n\
         performance: {{ {performance} }}"
    );
    let loaded = crate::parse(&text, "f", &|_| None).unwrap();
    let mut preflight = Preflight { loaded: &loaded, now: 0, reader: Reader::new("f", &|_| None), files: Vec::new() };
    preflight.check_workers(cores);
    preflight.reader.problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn workers_by_the_number_of_cores_need_a_socket_each() {
    for (extra, cores, reported) in [
        ("reuseport: false", 2, true),
        ("reuseport: false", 1, false),
        ("reuseport: false, worker_threads: 1, packet_shards_per_worker: 4", 2, false),
        ("reuseport: true", 2, false),
    ] {
        let text = "performance.reuseport must be true when performance.worker_threads > 1".to_owned();
        let expected = reported.then_some(text).into_iter().collect::<Vec<_>>();
        assert_eq!(worker_problems(extra, cores), expected, "{extra} {cores}");
    }
}

#[test]
fn there_are_no_more_workers_than_a_byte_can_name() {
    for (extra, cores, reported) in [
        ("worker_threads: 2, packet_shards_per_worker: 128", 1, None),
        ("worker_threads: 3, packet_shards_per_worker: 86", 1, Some("(3) times packet_shards_per_worker (86)")),
        ("packet_shards_per_worker: 4", 64, None),
        ("packet_shards_per_worker: 4", 65, Some("(65) times packet_shards_per_worker (4)")),
        ("packet_shards_per_worker: 1", 300, None),
    ] {
        let text = |numbers| format!("performance.worker_threads {numbers} must be at most 256");
        assert_eq!(
            worker_problems(extra, cores),
            reported.map(text).into_iter().collect::<Vec<_>>(),
            "{extra} {cores}"
        );
    }
}
