//! The endpoints of the control API: which path and method leads to which of them, and who may call it.

use crate::decode::percent_decoded;
use http::Method;
use spooky_config::ControlApi;

/// An endpoint, with the parts of its path that vary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Health,
    Ready,
    Runtime,
    Restart,
    Reload,
    ReloadCertificates,
    Validate,
    History,
    Rollback,
    Status,
    Backends,
    Backend { upstream: String, id: String },
    Drain { upstream: String, id: String },
    Undrain { upstream: String, id: String },
    Config,
    LogLevel,
    OpenApi,
    Page,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Everybody.
    Open,
    /// Whoever has the token, or everybody without one.
    Read,
    /// Whoever has the token, or loopback peers without one.
    Change,
}

impl Endpoint {
    /// Returns the methods that the endpoint has, as the field `allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Restart
            | Self::Reload
            | Self::ReloadCertificates
            | Self::Validate
            | Self::Rollback
            | Self::Drain { .. }
            | Self::Undrain { .. } => "POST",
            Self::LogLevel => "GET, HEAD, PUT",
            _ => "GET, HEAD",
        }
    }

    /// Returns who may call the endpoint with this method. `None` if it does not have the method.
    pub(crate) fn right(&self, method: &Method) -> Option<Right> {
        if !self.allow().split(", ").any(|allowed| allowed == method.as_str()) {
            return None;
        }
        Some(match self {
            Self::Health | Self::Ready | Self::OpenApi | Self::Page => Right::Open,
            _ if method == Method::GET || method == Method::HEAD => Right::Read,
            _ => Right::Change,
        })
    }
}

/// The paths of the control API, from the configuration.
#[derive(Debug)]
pub(crate) struct Routes {
    exact: Vec<(String, Endpoint)>,
    backends: String,
}

impl Routes {
    /// Where two endpoints have the same path, the configured one precedes those that have no key.
    pub(crate) fn new(config: &ControlApi) -> Self {
        let below = |name: &str| format!("{}/{name}", config.runtime_path.trim_end_matches('/'));
        let exact = vec![
            (config.health_path.clone(), Endpoint::Health),
            (config.ready_path.clone(), Endpoint::Ready),
            (config.runtime_path.clone(), Endpoint::Runtime),
            (config.restart_path.clone(), Endpoint::Restart),
            (config.reload_path.clone(), Endpoint::Reload),
            (config.reload_certs_path.clone(), Endpoint::ReloadCertificates),
            (config.backends_path.clone(), Endpoint::Backends),
            (config.config_path.clone(), Endpoint::Config),
            (config.log_level_path.clone(), Endpoint::LogLevel),
            (below("validate"), Endpoint::Validate),
            (below("history"), Endpoint::History),
            (below("rollback"), Endpoint::Rollback),
            (below("status"), Endpoint::Status),
            ("/openapi.json".to_owned(), Endpoint::OpenApi),
            ("/".to_owned(), Endpoint::Page),
        ];
        Self { exact, backends: format!("{}/", config.backends_path.trim_end_matches('/')) }
    }

    /// Returns the path of an endpoint without variable parts.
    pub(crate) fn path(&self, endpoint: &Endpoint) -> &str {
        self.exact.iter().find(|(_, found)| found == endpoint).map_or("", |(path, _)| path)
    }

    /// Returns the endpoint of a path without its query.
    pub(crate) fn find(&self, path: &str) -> Option<Endpoint> {
        if let Some((_, endpoint)) = self.exact.iter().find(|(exact, _)| exact == path) {
            return Some(endpoint.clone());
        }
        let mut parts = path.strip_prefix(&self.backends)?.split('/').map(percent_decoded);
        let (upstream, id, command) = (parts.next()??, parts.next()??, parts.next().flatten());
        match (command.as_deref(), parts.next()) {
            (None, None) if path.matches('/').count() == self.backends.matches('/').count() + 1 => {
                Some(Endpoint::Backend { upstream, id })
            }
            (Some("drain"), None) => Some(Endpoint::Drain { upstream, id }),
            (Some("undrain"), None) => Some(Endpoint::Undrain { upstream, id }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(upstream: &str, id: &str) -> Endpoint {
        Endpoint::Backend { upstream: upstream.to_owned(), id: id.to_owned() }
    }

    #[test]
    fn paths_lead_to_endpoints() {
        let routes = Routes::new(&ControlApi::default());
        for (path, expected) in [
            ("/health", Some(Endpoint::Health)),
            ("/admin/runtime", Some(Endpoint::Runtime)),
            ("/admin/runtime/", None),
            ("/admin/runtime/rollback", Some(Endpoint::Rollback)),
            ("/admin/backends", Some(Endpoint::Backends)),
            ("/admin/backends/", None),
            ("/admin/backends/api", None),
            ("/admin/backends/api/b1", Some(backend("api", "b1"))),
            ("/admin/backends/a%2Fb/%62%20", Some(backend("a/b", "b "))),
            ("/admin/backends/api/%zz", None),
            ("/admin/backends/api/%ff", None),
            ("/admin/backends/api/b1/", None),
            ("/admin/backends/api/b1/%zz", None),
            ("/admin/backends/api/b1/drain", Some(Endpoint::Drain { upstream: "api".to_owned(), id: "b1".to_owned() })),
            ("/admin/backends/api/b1/drain/x", None),
            ("/admin/backends/api/b1/stop", None),
            ("/", Some(Endpoint::Page)),
            ("", None),
        ] {
            assert_eq!(routes.find(path), expected, "{path}");
        }
    }

    #[test]
    fn a_configured_path_precedes_those_without_a_key() {
        let config =
            ControlApi { health_path: "/".to_owned(), runtime_path: "/x/".to_owned(), ..ControlApi::default() };
        let routes = Routes::new(&config);
        assert_eq!(routes.find("/"), Some(Endpoint::Health));
        assert_eq!(routes.find("/x/history"), Some(Endpoint::History));
        assert_eq!(routes.path(&Endpoint::Validate), "/x/validate");
    }

    #[test]
    fn only_listed_methods_are_allowed() {
        assert_eq!(Endpoint::Health.right(&Method::HEAD), Some(Right::Open));
        assert_eq!(Endpoint::Health.right(&Method::POST), None);
        assert_eq!(Endpoint::Reload.right(&Method::GET), None);
        assert_eq!(Endpoint::Reload.right(&Method::POST), Some(Right::Change));
        assert_eq!(Endpoint::LogLevel.right(&Method::GET), Some(Right::Read));
        assert_eq!(Endpoint::LogLevel.right(&Method::PUT), Some(Right::Change));
        assert_eq!(Endpoint::LogLevel.right(&Method::DELETE), None);
    }
}
