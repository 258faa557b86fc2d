//! The settings of the kernel and of the process that matter for a proxy, each with a verdict: `spooky check --system`.
//!
//! What is judged is read through [`Readings`], so that the judgement needs no certain machine.

use spooky_config::Config;
use std::fmt::{self, Write as _};

/// Minimum of TCP clients that wait to be accepted.
const MIN_BACKLOG: u64 = 1024;
/// Minimum of local ports, which are the connections to one address of a backend.
const MIN_PORTS: u64 = 16_384;
/// Minimum of connections that a stateful firewall remembers.
const MIN_TRACKED: u64 = 131_072;
/// File descriptors that the process needs beside those of clients and backends.
const OTHER_FILES: u64 = 256;
/// Minimum of inotify instances of a user; Spooky uses one.
const MIN_WATCHES: u64 = 16;

/// Whether a value is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// It limits Spooky.
    Low,
    /// It cannot be read here.
    Unknown,
}

impl Verdict {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Low => "low",
            Self::Unknown => "unknown",
        }
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) verdict: Verdict,
    /// What a value that is too low costs and what to do.
    pub(crate) advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, verdict, advice } = self;
        write!(out, "{:<8} {name} = {value}", verdict.label())?;
        if advice.is_empty() { Ok(()) } else { write!(out, "\n         {advice}") }
    }
}

/// Reads a file of `/proc`; `None` if it does not exist.
pub(crate) type Readings<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the files of this machine.
pub(crate) fn machine(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Judges all settings for a configuration.
pub(crate) fn judge(read: Readings<'_>, config: &Config) -> Vec<Finding> {
    let performance = &config.performance;
    let mut found = vec![
        buffer(read, "net.core.rmem_max", "udp_recv_buffer_bytes", performance.udp_recv_buffer_bytes),
        buffer(read, "net.core.wmem_max", "udp_send_buffer_bytes", performance.udp_send_buffer_bytes),
        at_least(
            read,
            "net.core.somaxconn",
            MIN_BACKLOG,
            "TCP clients wait in a short queue and are refused in a burst",
        ),
        at_least(read, "net.ipv4.tcp_max_syn_backlog", MIN_BACKLOG, "new TCP clients are refused in a burst"),
        ports(read),
        open_files(read, config),
        at_least(
            read,
            "fs.inotify.max_user_instances",
            MIN_WATCHES,
            "changed certificates may be noticed a minute late",
        ),
        offload(read),
    ];
    found.extend(tracking(read));
    found.push(seccomp(read));
    found
}

/// Returns the findings as lines.
pub(crate) fn text(found: &[Finding]) -> String {
    found.iter().fold(String::new(), |mut text, finding| {
        let _ = writeln!(text, "{finding}");
        text
    })
}

/// Returns the findings as a JSON array.
pub(crate) fn json(found: &[Finding]) -> String {
    let items: Vec<_> = found.iter().map(Finding::json).collect();
    format!("[{}]", items.join(","))
}

impl Finding {
    fn new(name: &'static str, value: Option<String>, is_good: bool, advice: &str) -> Self {
        let verdict = match value {
            None => Verdict::Unknown,
            Some(_) if is_good => Verdict::Good,
            Some(_) => Verdict::Low,
        };
        let advice = if verdict == Verdict::Low { advice.to_owned() } else { String::new() };
        Self { name, value: value.unwrap_or_else(|| "-".to_owned()), verdict, advice }
    }

    fn json(&self) -> String {
        let Self { name, value, verdict, advice } = self;
        let (value, advice) = (quoted(value), quoted(advice));
        format!("{{\"advice\":{advice},\"name\":\"{name}\",\"value\":{value},\"verdict\":\"{}\"}}", verdict.label())
    }
}

/// Quotes a text for JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Returns the text of a sysctl.
fn sysctl(read: Readings<'_>, name: &str) -> Option<String> {
    let text = read(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn number(text: Option<&String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn buffer(read: Readings<'_>, name: &'static str, key: &str, wanted: u64) -> Finding {
    let value = sysctl(read, name);
    let is_good = number(value.as_ref()) >= wanted;
    let advice =
        format!("bursts of UDP packets are lost: performance.{key} asks for {wanted} bytes; sysctl -w {name}={wanted}");
    Finding::new(name, value, is_good, &advice)
}

fn at_least(read: Readings<'_>, name: &'static str, least: u64, cost: &str) -> Finding {
    let value = sysctl(read, name);
    let is_good = number(value.as_ref()) >= least;
    Finding::new(name, value, is_good, &format!("{cost}; sysctl -w {name}={least}"))
}

fn ports(read: Readings<'_>) -> Finding {
    let name = "net.ipv4.ip_local_port_range";
    let value = sysctl(read, name);
    let bounds: Vec<u64> =
        value.iter().flat_map(|text| text.split(' ')).filter_map(|bound| bound.parse().ok()).collect();
    let count = if let [first, last] = bounds[..] { (last + 1).saturating_sub(first) } else { 0 };
    let advice = format!("at most {count} connections to one address of a backend; sysctl -w {name}=\"1024 65535\"");
    Finding::new(name, value, count >= MIN_PORTS, &advice)
}

/// Clients may use half of the file descriptors.
fn open_files(read: Readings<'_>, config: &Config) -> Finding {
    let limits = read("/proc/self/limits");
    let line = limits.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Max open files")));
    let hard = line.and_then(|line| line.split_whitespace().nth(1).map(str::to_owned));
    let listeners = config.listeners.iter().filter(|listener| listener.tcp.enabled);
    let clients: u64 = listeners.map(|listener| listener.tcp.max_connections as u64).sum();
    let wanted = clients * 2 + OTHER_FILES;
    let is_good = hard.as_deref() == Some("unlimited") || number(hard.as_ref()) >= wanted;
    let advice = format!(
        "fewer TCP clients than listen.tcp.max_connections ({clients} in all) can connect; set LimitNOFILE={wanted}"
    );
    Finding::new("hard limit of open files", hard, is_good, &advice)
}

/// UDP segmentation offload exists since Linux 4.18, receive offload since 5.0.
fn offload(read: Readings<'_>) -> Finding {
    let value = sysctl(read, "kernel.osrelease");
    let mut parts = value.iter().flat_map(|text| text.split(|character: char| !character.is_ascii_digit()));
    let major: u64 = parts.next().and_then(|part| part.parse().ok()).unwrap_or_default();
    let advice = "no GSO and GRO for UDP: each packet costs a system call; Linux 5.0 or newer has both";
    Finding::new("kernel", value, major >= 5, advice)
}

/// A stateful firewall on this machine drops what it has no room to remember.
fn tracking(read: Readings<'_>) -> Option<Finding> {
    let name = "net.netfilter.nf_conntrack_max";
    let most = sysctl(read, name)?;
    let used = sysctl(read, "net.netfilter.nf_conntrack_count").unwrap_or_else(|| "0".to_owned());
    let (limit, count) = (number(Some(&most)), number(Some(&used)));
    let is_good = limit >= MIN_TRACKED && count <= limit / 5 * 4;
    let advice = format!(
        "the firewall drops packets of new connections when it is full; sysctl -w {name}={}, or do not track the \
         ports of Spooky",
        MIN_TRACKED.max(limit * 2)
    );
    Some(Finding::new(name, Some(format!("{most} ({used} in use)")), is_good, &advice))
}

fn seccomp(read: Readings<'_>) -> Finding {
    let actions = sysctl(read, "kernel.seccomp.actions_avail");
    let is_good = actions.as_deref().is_some_and(|actions| actions.split(' ').any(|action| action == "errno"));
    Finding::new("kernel.seccomp.actions_avail", actions, is_good, "security.sandbox has no filter of system calls")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const GOOD: [(&str, &str); 11] = [
        ("/proc/sys/net/core/rmem_max", "8388608\n"),
        ("/proc/sys/net/core/wmem_max", "8388608\n"),
        ("/proc/sys/net/core/somaxconn", "4096\n"),
        ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "4096\n"),
        ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("/proc/sys/fs/inotify/max_user_instances", "128\n"),
        ("/proc/sys/kernel/osrelease", "6.12.1-arch1-1\n"),
        ("/proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
        ("/proc/sys/net/netfilter/nf_conntrack_count", "1000\n"),
        ("/proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread errno allow\n"),
        (
            "/proc/self/limits",
            "Limit  Soft  Hard  Units\nMax open files            1024                 524288               files     \n",
        ),
    ];

    fn verdicts(changed: &[(&str, Option<&str>)]) -> BTreeMap<&'static str, (Verdict, String)> {
        let config = spooky_config::default_config();
        let read = |path: &str| {
            if let Some((_, text)) = changed.iter().find(|(name, _)| *name == path) {
                return text.map(str::to_owned);
            }
            GOOD.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        judge(&read, &config).into_iter().map(|found| (found.name, (found.verdict, found.advice))).collect()
    }

    #[test]
    fn a_good_machine_has_nothing_to_change() {
        let found = verdicts(&[]);
        assert_eq!(found.len(), 10);
        assert!(found.values().all(|(verdict, advice)| *verdict == Verdict::Good && advice.is_empty()), "{found:?}");
    }

    #[test]
    fn each_value_that_limits_is_named_with_its_cost() {
        for (path, text, name, advice) in [
            ("/proc/sys/net/core/rmem_max", "212992", "net.core.rmem_max", "sysctl -w net.core.rmem_max=8388608"),
            ("/proc/sys/net/core/wmem_max", "8388607", "net.core.wmem_max", "performance.udp_send_buffer_bytes"),
            ("/proc/sys/net/core/somaxconn", "128", "net.core.somaxconn", "sysctl -w net.core.somaxconn=1024"),
            ("/proc/sys/net/ipv4/ip_local_port_range", "60000 60999", "net.ipv4.ip_local_port_range", "at most 1000 "),
            ("/proc/sys/kernel/osrelease", "4.19.0", "kernel", "Linux 5.0"),
            ("/proc/sys/net/netfilter/nf_conntrack_max", "65536", "net.netfilter.nf_conntrack_max", "=131072"),
            ("/proc/sys/net/netfilter/nf_conntrack_count", "250000", "net.netfilter.nf_conntrack_max", "=524288"),
            ("/proc/self/limits", "Max open files  1024  4096  files", "hard limit of open files", "LimitNOFILE=20256"),
        ] {
            let found = verdicts(&[(path, Some(text))]);
            let (verdict, said) = &found[name];
            assert_eq!(*verdict, Verdict::Low, "{path} {text}");
            assert!(said.contains(advice), "{said}");
            let others = found.values().filter(|(verdict, _)| *verdict != Verdict::Good).count();
            assert_eq!(others, 1, "{path}: {found:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_a_missing_firewall_is_fine() {
        let found =
            verdicts(&[("/proc/sys/net/core/rmem_max", None), ("/proc/sys/net/netfilter/nf_conntrack_max", None)]);
        assert_eq!(found["net.core.rmem_max"].0, Verdict::Unknown);
        assert!(!found.contains_key("net.netfilter.nf_conntrack_max"));
    }

    #[test]
    fn lines_and_json_say_the_same() {
        let found = [Finding::new("kernel", Some("4 \"old\"".to_owned()), false, "too old")];
        assert_eq!(text(&found), "low      kernel = 4 \"old\"\n         too old\n");
        let parsed: serde_json::Value = serde_json::from_str(&json(&found)).unwrap();
        let expected =
            serde_json::json!([{"advice": "too old", "name": "kernel", "value": "4 \"old\"", "verdict": "low"}]);
        assert_eq!(parsed, expected);
    }
}
