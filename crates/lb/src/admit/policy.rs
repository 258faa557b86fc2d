//! What the operator allows: methods, paths, CONNECT targets.
//!
//! Compiled once per configuration. The exchange checks before routing, in the order of
//! docs/reference/behaviour.md#request-checks.

use crate::outcome::Reason;
use crate::route::{DeniedPrefixes, PathDepths};

/// The policy keys of `resilience.protocol`.
#[derive(Clone, Debug, Default)]
pub struct PolicyOptions {
    /// Accepted methods; empty accepts all.
    pub allowed_methods: Vec<String>,
    /// Methods that are accepted in TLS early data.
    pub early_data_methods: Vec<String>,
    /// Refused path prefixes.
    pub denied_path_prefixes: Vec<String>,
    /// Rules for CONNECT; `None` refuses it.
    pub connect: Option<ConnectRules>,
}

/// Allowed targets of CONNECT.
#[derive(Clone, Debug, Default)]
pub struct ConnectRules {
    /// Allowed ports; empty allows all.
    pub allowed_ports: Vec<u16>,
    /// Allowed `host:port` targets; empty allows all.
    pub allowed_authorities: Vec<String>,
}

/// The compiled policy.
#[derive(Debug, Default)]
pub struct Policy {
    allowed_methods: Vec<Box<[u8]>>,
    early_data_methods: Vec<Box<[u8]>>,
    denied: DeniedPrefixes,
    connect: Option<ConnectRules>,
    allow: String,
}

/// Value of `allow` without `allowed_methods`; CONNECT is added if it is accepted.
const COMMON_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH";

impl Policy {
    /// Compiles the options.
    pub fn new(options: PolicyOptions) -> Self {
        let bytes = |words: Vec<String>| words.into_iter().map(|word| word.into_bytes().into_boxed_slice()).collect();
        let allow = allow_field(&options.allowed_methods, options.connect.is_some());
        Self {
            denied: DeniedPrefixes::new(options.denied_path_prefixes.iter().map(String::as_str)),
            allow,
            allowed_methods: bytes(options.allowed_methods),
            early_data_methods: bytes(options.early_data_methods),
            connect: options.connect.map(|mut rules| {
                rules.allowed_authorities.iter_mut().for_each(|target| target.make_ascii_lowercase());
                rules
            }),
        }
    }

    /// Checks the method of a request in TLS early data, which an attacker can have recorded and sent again (RFC 8470).
    pub fn check_early_data(&self, method: &[u8]) -> Result<(), Reason> {
        let is_safe = self.early_data_methods.iter().any(|safe| **safe == *method);
        if is_safe { Ok(()) } else { Err(Reason::EarlyDataDenied) }
    }

    /// Checks the method. The caller passes extended CONNECT for WebSocket as `GET`.
    pub fn check_method(&self, method: &[u8]) -> Result<(), Reason> {
        if method == b"CONNECT" && self.connect.is_none() {
            return Err(Reason::MethodDenied);
        }
        let listed = self.allowed_methods.iter().any(|allowed| **allowed == *method);
        if self.allowed_methods.is_empty() || listed { Ok(()) } else { Err(Reason::MethodDenied) }
    }

    /// Value of the `allow` field of a 405.
    pub fn allow(&self) -> &str {
        &self.allow
    }

    /// Checks every interpretation of the path that a backend may have (docs/reference/behaviour.md#denied-paths). `depths`
    /// is a buffer that the caller reuses.
    pub fn check_path(&self, path: &[u8], depths: &mut PathDepths) -> Result<(), Reason> {
        if self.denied.denies(path, depths) { Err(Reason::PathDenied) } else { Ok(()) }
    }

    /// Checks the target of CONNECT: it must be `host:port` and allowed by both lists.
    pub fn check_connect(&self, authority: &[u8]) -> Result<(), Reason> {
        let port = connect_port(authority).ok_or(Reason::InvalidConnectTarget)?;
        let Some(rules) = &self.connect else { return Err(Reason::MethodDenied) };
        let port_allowed = rules.allowed_ports.is_empty() || rules.allowed_ports.contains(&port);
        let target_allowed = rules.allowed_authorities.is_empty()
            || rules.allowed_authorities.iter().any(|target| target.as_bytes().eq_ignore_ascii_case(authority));
        if port_allowed && target_allowed { Ok(()) } else { Err(Reason::ConnectDenied) }
    }
}

/// The port of `host:port`; `None` without a host, or with an IPv6 address that is not in brackets.
fn connect_port(authority: &[u8]) -> Option<u16> {
    let colon = authority.iter().rposition(|&byte| byte == b':')?;
    let (host, port) = (authority.get(..colon)?, authority.get(colon + 1..)?);
    let bracketed = host.first() == Some(&b'[') && host.last() == Some(&b']') && host.len() > 2;
    let plain = !host.is_empty() && !host.iter().any(|byte| matches!(byte, b':' | b'[' | b']' | b'@' | b'/'));
    if !(bracketed || plain) || !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(port).ok()?.parse().ok().filter(|&port| port != 0)
}

fn allow_field(allowed: &[String], connect: bool) -> String {
    let listed = allowed.iter().map(String::as_str).filter(|&method| connect || method != "CONNECT");
    match (allowed.is_empty(), connect) {
        (true, false) => COMMON_METHODS.to_owned(),
        (true, true) => format!("{COMMON_METHODS}, CONNECT"),
        (false, _) => listed.collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(options: PolicyOptions) -> Policy {
        Policy::new(options)
    }

    #[test]
    fn methods_outside_the_list_are_refused_and_allow_lists_the_rest() {
        let all = policy(PolicyOptions::default());
        assert_eq!(all.check_method(b"BREW"), Ok(()));
        assert_eq!(all.check_method(b"CONNECT"), Err(Reason::MethodDenied));
        let some =
            policy(PolicyOptions { allowed_methods: vec!["GET".into(), "CONNECT".into()], ..Default::default() });
        assert_eq!(some.check_method(b"GET"), Ok(()));
        assert_eq!(some.check_method(b"get"), Err(Reason::MethodDenied));
        assert_eq!(some.check_method(b"CONNECT"), Err(Reason::MethodDenied));
        assert_eq!(some.allow(), "GET");
    }

    #[test]
    fn only_listed_methods_are_accepted_in_early_data() {
        let policy = policy(PolicyOptions { early_data_methods: vec!["GET".into()], ..Default::default() });
        assert_eq!(policy.check_early_data(b"GET"), Ok(()));
        for other in [&b"HEAD"[..], b"POST", b"CONNECT", b"get"] {
            assert_eq!(policy.check_early_data(other), Err(Reason::EarlyDataDenied));
        }
    }

    #[test]
    fn denied_prefixes_hold_on_every_reading_and_end_on_segments() {
        let policy = policy(PolicyOptions { denied_path_prefixes: vec!["/admin".into()], ..Default::default() });
        let check = |path: &str| policy.check_path(path.as_bytes(), &mut PathDepths::default());
        for path in ["/admin", "/admin/", "/%61dmin/x", "/x/..%2fadmin", "//admin?q", "/.//admin", "/a%5c..%5cadmin"] {
            assert_eq!(check(path), Err(Reason::PathDenied), "{path}");
        }
        for path in ["/administrator", "/", "/x/admin", "/%2561dmin", "/x?/admin"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn connect_targets_need_a_port_and_permission() {
        let rules = ConnectRules { allowed_ports: vec![443], allowed_authorities: vec!["Db.Local:443".into()] };
        let policy = policy(PolicyOptions { connect: Some(rules), ..Default::default() });
        assert_eq!(policy.check_connect(b"db.local:443"), Ok(()));
        assert_eq!(policy.check_connect(b"db.local:80"), Err(Reason::ConnectDenied));
        assert_eq!(policy.check_connect(b"other:443"), Err(Reason::ConnectDenied));
        for bad in
            ["db.local", "", ":443", "db.local:", "db.local:0", "db.local:65536", "::1:443", "a@b:1", "[]:1", "h:+1"]
        {
            assert_eq!(policy.check_connect(bad.as_bytes()), Err(Reason::InvalidConnectTarget), "{bad}");
        }
        assert_eq!(connect_port(b"[::1]:8443"), Some(8443));
    }
}
