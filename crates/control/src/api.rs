//! The control API: checks method and access of a request, reads its body, asks the [`Admin`], and writes the answer.

use crate::{
    access::{self, Ends},
    admin::{Admin, ConnectionLimits, Draining, Reload, Restart, Site},
    answer::{self, Answer, body_of, json, not_found, refusal, with_field},
    body,
    connection::Serve,
    open_connections::Slot,
    openapi,
    routes::{Endpoint, Right, Routes},
};
use http::{Request, StatusCode, header::CONTENT_SECURITY_POLICY};
use hyper::body::Incoming;
use rustls::ServerConfig;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

const PAGE: &str = include_str!("page.html");
/// The page contains its script and style, and fetches from this endpoint only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                           img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Maximum length of a log level with its targets.
const MAX_LEVEL: usize = 1024;

pub(crate) struct Api<A> {
    pub(crate) admin: Arc<A>,
    pub(crate) routes: Routes,
    pub(crate) bound: String,
    pub(crate) dropped: Arc<AtomicU64>,
}

impl<A: Admin> Serve for Api<A> {
    const NAME: &'static str = "control_api";

    fn limits(&self) -> ConnectionLimits {
        self.admin.limits(Site::Api)
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.admin.tls()
    }

    fn bound(&self) -> &str {
        &self.bound
    }

    fn on_refused(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    async fn answer(&self, request: Request<Incoming>, ends: &Ends, slot: &Slot) -> Answer {
        let Some(endpoint) = self.routes.find(request.uri().path()) else { return not_found() };
        let Some(right) = endpoint.right(request.method()) else {
            return answer::method_not_allowed(endpoint.allow());
        };
        if let Some(refused) =
            access::check(right, self.admin.token().as_deref(), request.uri(), request.headers(), ends)
        {
            return refused;
        }
        if right != Right::Change {
            return self.read(&endpoint);
        }
        match body::read(request.into_body()).await {
            Ok(body) => {
                slot.set_idle(None);
                self.change(&endpoint, &body).await
            }
            Err(refused) => refused,
        }
    }
}

#[derive(Serialize)]
struct LogLevel {
    level: String,
}

impl<A: Admin> Api<A> {
    fn read(&self, endpoint: &Endpoint) -> Answer {
        let admin = &self.admin;
        match endpoint {
            Endpoint::Health => json(StatusCode::OK, &admin.health()),
            Endpoint::Ready => {
                let ready = admin.ready();
                json(if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &ready)
            }
            Endpoint::Runtime => json(StatusCode::OK, &admin.runtime()),
            Endpoint::History => json(StatusCode::OK, &admin.history()),
            Endpoint::Status => json(StatusCode::OK, &admin.status()),
            Endpoint::Backends => json(StatusCode::OK, &admin.backends()),
            Endpoint::Backend { upstream, id } => found(admin.backend(upstream, id)),
            Endpoint::Config => json(StatusCode::OK, &admin.config()),
            Endpoint::LogLevel => json(StatusCode::OK, &LogLevel { level: admin.log_level() }),
            Endpoint::OpenApi => json(StatusCode::OK, &openapi::document(&self.routes)),
            Endpoint::Page => self.page(),
            _ => not_found(),
        }
    }

    async fn change(&self, endpoint: &Endpoint, body: &[u8]) -> Answer {
        match endpoint {
            Endpoint::Reload => reload(self.admin.reload().await),
            Endpoint::ReloadCertificates => match self.admin.reload_certificates().await {
                Reload::Failed(error) => failed(StatusCode::BAD_REQUEST, &error),
                result => reload(result),
            },
            Endpoint::Rollback => reload(self.admin.rollback().await),
            Endpoint::Restart => restart(self.admin.restart().await),
            Endpoint::Validate => self.validate(body).await,
            Endpoint::Drain { upstream, id } => found(self.admin.drain(upstream, id, Draining::Start)),
            Endpoint::Undrain { upstream, id } => found(self.admin.drain(upstream, id, Draining::End)),
            Endpoint::LogLevel => self.set_log_level(body),
            _ => not_found(),
        }
    }

    async fn validate(&self, body: &[u8]) -> Answer {
        let Ok(text) = std::str::from_utf8(body) else {
            return refusal(StatusCode::BAD_REQUEST, "the configuration is not UTF-8");
        };
        let validation = self.admin.validate(text.to_owned()).await;
        json(if validation.is_valid { StatusCode::OK } else { StatusCode::BAD_REQUEST }, &validation.problems)
    }

    fn set_log_level(&self, body: &[u8]) -> Answer {
        // A struct would also be read from an array.
        let fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let Some(level) = fields.get("level").and_then(Value::as_str) else {
            return refusal(StatusCode::BAD_REQUEST, "expected a JSON object with the string level");
        };
        // Each line of the log is compared with all targets.
        if level.len() > MAX_LEVEL || !self.admin.set_log_level(level) {
            return refusal(StatusCode::BAD_REQUEST, "level must have the form of RUST_LOG");
        }
        json(StatusCode::OK, &LogLevel { level: self.admin.log_level() })
    }

    /// The page finds the endpoints by these paths, which are configured.
    fn page(&self) -> Answer {
        let paths = [
            ("backends", Endpoint::Backends),
            ("history", Endpoint::History),
            ("ready", Endpoint::Ready),
            ("runtime", Endpoint::Runtime),
            ("status", Endpoint::Status),
        ];
        let paths = paths.map(|(name, endpoint)| (name.to_owned(), Value::from(self.routes.path(&endpoint))));
        // In a script, `<` would be able to end it.
        let paths = Value::Object(paths.into_iter().collect()).to_string().replace('<', "\\u003c");
        let page = body_of(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace("\"{{paths}}\"", &paths));
        with_field(page, CONTENT_SECURITY_POLICY, PAGE_POLICY)
    }
}

fn found(backend: Option<impl Serialize>) -> Answer {
    match backend {
        Some(backend) => json(StatusCode::OK, &backend),
        None => refusal(StatusCode::NOT_FOUND, "unknown backend"),
    }
}

fn reload(result: Reload) -> Answer {
    let (status, body) = match result {
        Reload::Done { generation, path } => {
            (StatusCode::ACCEPTED, serde_json::json!({ "generation": generation, "path": path, "reloaded": true }))
        }
        Reload::Certificates(listeners) => {
            (StatusCode::ACCEPTED, serde_json::json!({ "listeners": listeners, "reloaded": true }))
        }
        Reload::Invalid { error, problems } => {
            (StatusCode::BAD_REQUEST, serde_json::json!({ "error": error, "problems": problems, "reloaded": false }))
        }
        Reload::Rejected { error, fields } => {
            (StatusCode::CONFLICT, serde_json::json!({ "error": error, "fields": fields, "reloaded": false }))
        }
        Reload::Failed(error) => return failed(StatusCode::INTERNAL_SERVER_ERROR, &error),
    };
    json(status, &body)
}

fn failed(status: StatusCode, error: &str) -> Answer {
    json(status, &serde_json::json!({ "error": error, "reloaded": false }))
}

fn restart(result: Restart) -> Answer {
    let reason = "admin_runtime_api";
    let (status, body) = match result {
        Restart::Accepted => {
            (StatusCode::ACCEPTED, serde_json::json!({ "accepted": true, "reason": reason, "restart_requested": true }))
        }
        Restart::Pending => (
            StatusCode::CONFLICT,
            serde_json::json!({ "accepted": false, "error": "restart pending or cooldown active" }),
        ),
        Restart::Disabled => {
            (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "accepted": false, "error": "watchdog disabled" }))
        }
    };
    json(status, &body)
}
