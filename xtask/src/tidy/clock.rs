//! Forbids clocks, sockets and randomness in pure crates.

use super::{File, Problem};

/// Crates that take time and randomness as arguments. `config` reads files, so it is not one of them.
const PURE: [&str; 2] = ["crates/bridge/src/", "crates/lb/src/"];
/// Calls that pure crates must not contain.
const IMPURE: [&str; 8] = [
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "thread::sleep",
    "thread_rng",
];

pub(super) fn check(file: &File) -> Vec<Problem> {
    if !PURE.iter().any(|folder| file.path.starts_with(folder)) || file.path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code = file.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(line, text)| IMPURE.iter().filter(move |call| text.contains(**call)).map(move |call| (line, call)))
        .map(|(line, call)| file.problem(line, format!("`{call}` in code that only decides: take it as an argument")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    #[test]
    fn deciding_code_has_no_clock() {
        let text = "//! A file.\nlet now = Instant::now();\n";
        assert_eq!(check(&sample("crates/lb/src/health.rs", text))[0].line, 2);
        assert_eq!(check(&sample("crates/net/src/udp.rs", text)), []);
        assert_eq!(check(&sample("crates/lb/src/health/tests.rs", text)), []);
        assert_eq!(check(&sample("crates/lb/src/a.rs", "// Instant::now is the caller's.\n")), []);
        assert_eq!(check(&sample("crates/lb/src/a.rs", "#[cfg(test)]\nmod tests { Instant::now() }\n")), []);
    }
}
