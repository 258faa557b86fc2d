//! The page of a process that has just started.

use super::page;
use crate::{
    snapshot::{compile, process_limits, quic_keys},
    state::{State, UpgradeState},
};
use spooky_telemetry::metrics::{Family, Names, OldName, Syntax};
use spooky_testkit::{
    certs::{Authority, Files},
    settings::Settings,
};

/// Families without samples until something has happened: their labels come from requests.
const EMPTY_AT_FIRST: [Family; 3] = [Family::HttpRequests, Family::LocalResponses, Family::StreamResets];

fn text(upstreams: &[&str]) -> (String, Vec<Family>) {
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["localhost"]));
    let settings = upstreams.iter().fold(Settings::new(&files), |settings, name| {
        settings.upstream(name, &format!("/{name}"), &["http://127.0.0.1:1".to_owned()])
    });
    let config = spooky_config::parse(&settings.text(), "spooky.yaml", &|_| None).unwrap().config;
    let state = State::new(2, &process_limits(&config), quic_keys(&config).unwrap(), UpgradeState::default()).unwrap();
    let snapshot = compile(config, &state, None).unwrap();
    let page = page(&state, &snapshot);
    let missing = Family::ALL.iter().copied().filter(|family| page.is_empty(*family)).collect();
    (page.render(Syntax::Text, Names::Legacy), missing)
}

#[test]
fn every_family_is_there_from_the_start() {
    let (page, missing) = text(&["api", "web"]);
    assert_eq!(missing, EMPTY_AT_FIRST);
    for family in Family::ALL {
        let definition = family.definition();
        let old = match definition.old_name {
            OldName::Legacy(old) | OldName::Kept(old) => Some(old),
            OldName::None => None,
        };
        for name in [Some(definition.name), old].into_iter().flatten().filter(|name| !name.is_empty()) {
            assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        }
    }
    for sample in [
        "spooky_requests_total 0",
        "spooky_route_requests_total{route=\"web\"} 0",
        "spooky_route_requests_total{route=\"unrouted\"} 0",
        "spooky_worker_requests_total{worker=\"worker-1\"} 0",
        "spooky_backend_healthy{upstream=\"api\",backend=\"b1\"} 1",
        "spooky_overload_shed_by_reason_total{reason=\"circuit_open\"} 0",
    ] {
        assert!(page.lines().any(|line| line == sample), "{sample} is missing in:\n{page}");
    }
}
