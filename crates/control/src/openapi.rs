//! The `OpenAPI` document of the control API, with the configured paths.

#![allow(clippy::needless_pass_by_value, reason = "calls are nested as the document is")]

use crate::{
    routes::{Endpoint, Routes},
    schema::{reference, schemas, text},
};
use serde_json::{Map, Value, json};

/// An operation: its method, endpoint, summary, whether it changes anything, its own answers by status.
struct Operation {
    method: &'static str,
    path: String,
    summary: &'static str,
    is_open: bool,
    answers: Vec<(&'static str, Value)>,
    body: Option<Value>,
}

/// Returns the document.
pub(crate) fn document(routes: &Routes) -> Value {
    let mut paths = Map::new();
    for operation in operations(routes) {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            for name in operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let parameters = path.entry("parameters").or_insert_with(|| json!([]));
                let parameter = json!({ "in": "path", "name": name, "required": true, "schema": text() });
                if let Value::Array(parameters) = parameters
                    && !parameters.contains(&parameter)
                {
                    parameters.push(parameter);
                }
            }
            path.insert(operation.method.to_owned(), operation.value());
        }
    }
    json!({
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "token": { "scheme": "bearer", "type": "http" } },
        },
        "info": { "title": "Spooky control API", "version": env!("CARGO_PKG_VERSION") },
        "openapi": "3.1.0",
        "paths": paths,
    })
}

impl Operation {
    fn value(self) -> Value {
        let mut answers = Map::new();
        let error = || reference("Error");
        answers.insert("503".to_owned(), content("too many responses are not read by their clients", error()));
        if !self.is_open {
            answers.insert("401".to_owned(), content("the token is missing or wrong", error()));
            if self.method != "get" {
                answers.insert("400".to_owned(), content("the request cannot be read", error()));
                answers.insert("403".to_owned(), content("not from this machine, or from a foreign page", error()));
                answers.insert("408".to_owned(), content("the body did not arrive in time", error()));
                answers.insert("413".to_owned(), content("the body is above 64 KiB", error()));
            }
        }
        answers.extend(self.answers.into_iter().map(|(status, answer)| (status.to_owned(), answer)));
        let mut value = json!({ "responses": answers, "summary": self.summary });
        if let Value::Object(value) = &mut value {
            if !self.is_open {
                // Without a configured token, none is needed.
                value.insert("security".to_owned(), json!([{ "token": [] }, {}]));
            }
            if let Some(body) = self.body {
                value.insert("requestBody".to_owned(), json!({ "content": body, "required": true }));
            }
        }
        value
    }
}

fn operations(routes: &Routes) -> Vec<Operation> {
    let get = |endpoint: Endpoint, summary, schema: &str| Operation {
        method: "get",
        path: routes.path(&endpoint).to_owned(),
        summary,
        is_open: false,
        answers: vec![("200", content("the state", reference(schema)))],
        body: None,
    };
    let open = |operation: Operation| Operation { is_open: true, ..operation };
    let post = |endpoint: Endpoint, summary, answers| Operation {
        method: "post",
        path: routes.path(&endpoint).to_owned(),
        summary,
        is_open: false,
        answers,
        body: None,
    };
    let mut ready = open(get(Endpoint::Ready, "Readiness", "Ready"));
    ready.answers.push(("503", content("not ready", or_error("Ready"))));
    let mut validate = post(Endpoint::Validate, "Check a configuration without any effect", validate_answers());
    validate.body = Some(json!({ "application/yaml": { "schema": text() } }));
    let set_level = Operation {
        method: "put",
        body: Some(json!({ "application/json": { "schema": reference("LogLevel") } })),
        ..get(Endpoint::LogLevel, "Set the log level until the next reload", "LogLevel")
    };
    let page = Operation {
        answers: vec![("200", json!({ "content": { "text/html": {} }, "description": "an HTML page" }))],
        ..open(get(Endpoint::Page, "Status page", ""))
    };
    let openapi = Operation {
        answers: vec![("200", content("an OpenAPI document", json!({ "type": "object" })))],
        ..open(get(Endpoint::OpenApi, "This document", ""))
    };
    let config = Operation {
        answers: vec![("200", content("the configuration", json!({ "type": "object" })))],
        ..get(Endpoint::Config, "Effective configuration, with redacted secrets", "")
    };
    let mut all = vec![
        open(get(Endpoint::Health, "Liveness", "Health")),
        ready,
        get(Endpoint::Runtime, "State of the process", "Runtime"),
        post(Endpoint::Restart, "Drain and end, to be started again", restart_answers()),
        post(Endpoint::Reload, "Read the configuration file and put it into effect", reload_answers()),
        post(Endpoint::ReloadCertificates, "Load certificates and keys again", certificate_answers()),
        post(Endpoint::Rollback, "Put the previous configuration into effect", rollback_answers()),
        validate,
        get(Endpoint::History, "The last generations of the configuration", "History"),
        get(Endpoint::Status, "Data of the status page", "Status"),
        get(Endpoint::Backends, "All backends", "Backends"),
        config,
        get(Endpoint::LogLevel, "Log level", "LogLevel"),
        set_level,
        openapi,
        page,
    ];
    all.extend(backend_operations(routes));
    all
}

fn backend_operations(routes: &Routes) -> [Operation; 3] {
    let base = routes.path(&Endpoint::Backends).trim_end_matches('/');
    [
        ("get", "", "One backend"),
        ("post", "/drain", "Give a backend no new requests"),
        ("post", "/undrain", "Give a backend requests again"),
    ]
    .map(|(method, suffix, summary)| Operation {
        method,
        path: format!("{base}/{{upstream}}/{{id}}{suffix}"),
        summary,
        is_open: false,
        answers: vec![("200", content("the backend", reference("Backend"))), ("404", no_backend())],
        body: None,
    })
}

/// An empty name makes a path of no endpoint, whose answer is text.
fn no_backend() -> Value {
    json!({
        "content": { "application/json": { "schema": reference("Error") }, "text/plain": { "schema": text() } },
        "description": "unknown backend",
    })
}

fn reload_answers() -> Vec<(&'static str, Value)> {
    let mut answers = rollback_answers();
    let either = or_error("Invalid");
    answers.push(("400", content("the configuration has errors", either)));
    answers
}

fn rollback_answers() -> Vec<(&'static str, Value)> {
    vec![
        ("202", content("the configuration is in effect", reference("Reloaded"))),
        ("409", content("a change needs a restart, or there is no previous configuration", reference("Rejected"))),
        ("500", content("a file could not be loaded, or a socket not bound", reference("Failed"))),
    ]
}

fn certificate_answers() -> Vec<(&'static str, Value)> {
    let either = or_error("Failed");
    vec![
        ("202", content("the certificates are in effect", reference("CertificatesReloaded"))),
        ("400", content("a file could not be loaded", either)),
    ]
}

fn restart_answers() -> Vec<(&'static str, Value)> {
    vec![
        ("202", content("the process drains and ends", reference("Restart"))),
        ("409", content("a restart is pending, or the last one was too recent", reference("Restart"))),
        ("503", content("the watchdog is disabled", or_error("Restart"))),
    ]
}

fn validate_answers() -> Vec<(&'static str, Value)> {
    let problems = || reference("Problems");
    vec![
        ("200", content("no errors; the array holds warnings", problems())),
        ("400", content("errors", json!({ "anyOf": [problems(), reference("Error")] }))),
    ]
}

/// The schema of an answer in whose place the refusal of any other request may stand.
fn or_error(schema: &str) -> Value {
    json!({ "anyOf": [reference(schema), reference("Error")] })
}

fn content(description: &str, schema: Value) -> Value {
    json!({ "content": { "application/json": { "schema": schema } }, "description": description })
}
