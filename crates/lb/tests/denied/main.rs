//! Denied prefixes against models of what reads paths behind a proxy: whatever any of them finds below a prefix is denied.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: a broken assumption fails it")]

mod models;

use models::{Backends, is_below};
use spooky_lb::rng::Rng;
use spooky_lb::route::{DeniedPrefixes, PathDepths};

const PIECES: [&str; 13] = ["/", "\\", "%2f", "%5c", "%2e", ".", "..", ";", "%3b", "%00", "%25", "a", "admin"];
/// One policy each, so that no prefix hides what another misses.
const PREFIXES: [&str; 5] = ["/admin", "/a/admin", "/admin/", "/a%2fadmin/a", "/%61dmin/a/"];

struct Policies {
    compiled: Vec<(DeniedPrefixes, String)>,
    backends: Backends,
    depths: PathDepths,
    /// Of the paths so far: those that a backend finds below a prefix, those that are denied, all.
    counts: [u64; 3],
}

impl Policies {
    fn new() -> Self {
        let policies = PREFIXES.map(|prefix| {
            let decoded = prefix.replace("%2f", "/").replace("%61", "a");
            (DeniedPrefixes::new([prefix]), decoded)
        });
        Self { compiled: policies.into(), backends: Backends::default(), depths: PathDepths::default(), counts: [0; 3] }
    }

    /// Holds one policy, or all, to what the backends make of a path.
    fn check(&mut self, path: &str, only: Option<usize>, origin: &str) {
        // Without the word no reading can be below a prefix; most paths are spared the models.
        let readings = if path.contains("admin") { self.backends.read(path.as_bytes()) } else { &[] };
        for (number, (denied, prefix)) in self.compiled.iter().enumerate() {
            if only.is_some_and(|only| only != number) {
                continue;
            }
            let below = readings.iter().find(|reading| is_below(&reading.path, prefix.as_bytes()));
            let is_denied = denied.denies(path.as_bytes(), &mut self.depths);
            if let Some(reading) = below {
                let text = String::from_utf8_lossy(&reading.path);
                assert!(is_denied, "{path} is {text:?} for {}, below {prefix} ({origin})", reading.backend);
            }
            self.counts[0] += u64::from(below.is_some());
            self.counts[1] += u64::from(is_denied);
            self.counts[2] += 1;
        }
    }

    /// The test is worth nothing unless paths of both kinds occur, and too strict a rule would pass it.
    fn conclude(&self) {
        let [below, denied, all] = self.counts;
        println!("of {all} readings {below} are below a prefix, {denied} are denied");
        assert!(below > all / 100 && denied < all / 2, "{below} below, {denied} denied, of {all}");
        assert!(denied - below < denied / 4, "{denied} denied, of which only {below} with a reason");
    }
}

#[test]
fn all_paths_of_up_to_four_pieces() {
    let mut policies = Policies::new();
    let mut path = String::new();
    for length in 0..=4 {
        for mut number in 0..PIECES.len().pow(length) {
            path.replace_range(.., "/");
            for _ in 0..length {
                path.push_str(PIECES[number % PIECES.len()]);
                number /= PIECES.len();
            }
            policies.check(&path, None, "of all short paths");
        }
    }
    policies.conclude();
}

#[test]
fn a_million_seeded_paths_of_up_to_twelve_pieces() {
    const SEED: u64 = 0x5b00_c1e5;
    println!("seed {SEED:#x}");
    let mut rng = Rng::seeded(SEED);
    let mut policies = Policies::new();
    let mut path = String::new();
    for number in 0..1_000_000_u32 {
        path.replace_range(.., "/");
        for _ in 0..=rng.below(12) {
            path.push_str(PIECES[rng.below(PIECES.len() as u64) as usize]);
        }
        let only = number as usize % PREFIXES.len();
        policies.check(&path, Some(only), &format!("path {number} of seed {SEED:#x}"));
    }
    policies.conclude();
}

/// Where backends cannot differ but in whether they remove dot segments, the rule is exact.
#[test]
fn paths_with_plain_dot_segments_are_denied_exactly() {
    const PLAIN: [&str; 5] = ["a", "..", ".", "admin", "b"];
    let prefixes = PREFIXES.map(|prefix| prefix.replace("%2f", "/").replace("%61", "a"));
    let denied = PREFIXES.map(|prefix| DeniedPrefixes::new([prefix]));
    let mut depths = PathDepths::default();
    let (mut yes, mut no) = (0_u32, 0_u32);
    for length in 1..=6 {
        for mut number in 0..PLAIN.len().pow(length) {
            let mut path = String::new();
            for _ in 0..length {
                path.push('/');
                path.push_str(PLAIN[number % PLAIN.len()]);
                number /= PLAIN.len();
            }
            for path in [path.clone(), format!("{path}/"), format!("{path}?/admin")] {
                let raw = path.split('?').next().unwrap();
                let resolved = models::resolved(raw.as_bytes());
                // A segment `.` may be passed over while `..` is kept.
                let without_dots = raw.split("/.").collect::<Vec<_>>();
                let kept = without_dots.iter().skip(1).fold(without_dots[0].to_owned(), |kept, part| match *part {
                    "" => kept,
                    part if part.starts_with('/') => kept + part,
                    part => kept + "/." + part,
                });
                let kept = if raw.ends_with("/.") { kept + "/" } else { kept };
                for (prefix, denied) in prefixes.iter().zip(&denied) {
                    let is_below =
                        [raw.as_bytes(), kept.as_bytes(), &resolved].iter().any(|it| is_below(it, prefix.as_bytes()));
                    assert_eq!(denied.denies(path.as_bytes(), &mut depths), is_below, "{path} below {prefix}");
                    if is_below { yes += 1 } else { no += 1 }
                }
            }
        }
    }
    assert!(yes > 1000 && no > 1000, "{yes} {no}");
}

#[test]
fn known_ways_around_a_prefix_are_closed_and_its_neighbours_are_open() {
    let mut depths = PathDepths::default();
    let mut is_denied = |prefix: &str, path: &str| DeniedPrefixes::new([prefix]).denies(path.as_bytes(), &mut depths);
    for (prefix, path) in [
        ("/admin", "/x%00%2f..%2fadmin/keys"),
        ("/admin", "/b%2f..%2fadmin%2f%5c..%5c..%5cc"),
        ("/admin", "/admin;a=b/keys"),
        ("/admin", "/x/..;/admin/keys"),
        ("/admin", "/admin%3ba=b/keys"),
        ("/admin", "/;/admin"),
        ("/admin", "/admin%00.html"),
        ("/admin", "/x;%2f..%2fy/../admin"),
        ("/admin", "//host/admin/keys"),
        ("/admin", "/\\host\\admin"),
        ("/a/admin", "/a/b//../../admin"),
        ("/admin", "/p%2fq/../x%2f..%2fadmin"),
        ("/a/b", "/a;%2fx/b"),
        ("/@internal", "/%40internal/keys"),
        ("/%40internal", "/@internal/keys"),
        ("/a%2fb", "/a%2Fb/c"),
        ("/a b", "/a%20b"),
        ("/caf%C3%A9", "/caf%c3%a9/x"),
        ("/static/", "/static/"),
        ("/static/", "/static%2f"),
        ("/static/", "/static/.."),
        ("/", "/anything"),
        ("/", "*"),
        ("/*", "/*"),
        ("/", "/%2e"),
    ] {
        assert!(is_denied(prefix, path), "{path} below {prefix}");
    }
    for (prefix, path) in [
        ("/admin", "/administrator"),
        ("/admin", "/admi"),
        ("/admin", "/%2561dmin"),
        ("/admin", "/x/admin"),
        ("/admin", "/x%2fadmin"),
        ("/admin", "/x;/admin"),
        ("/admin", "/x;y=admin/z"),
        ("/admin", "/x//admin"),
        ("/admin", "/a%20admin"),
        ("/admin", "/a?/admin"),
        ("/admin", "/x/y%2f../admin"),
        ("/admin", "/files/..%20/admin"),
        ("/static/", "/static"),
        ("/static/", "/static?x"),
        ("/static/", "/static;x"),
        ("/@internal", "/%2540internal"),
        ("/admin", "*"),
        ("/admin", ""),
    ] {
        assert!(!is_denied(prefix, path), "{path} not below {prefix}");
    }
    assert!(!DeniedPrefixes::default().denies(b"/admin", &mut depths));
}
