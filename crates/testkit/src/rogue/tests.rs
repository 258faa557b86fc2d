//! The rogues seen by hyper's HTTP/2 client, which knows what is wrong with them.

use std::time::Duration;

use super::*;
use crate::dialer::{Got, dial, fetch, reason, request};
use crate::wait;

async fn ask(fault: Fault) -> (Rogue, Result<Got, hyper::Error>) {
    let rogue = Rogue::start(fault).await;
    let mut client = dial(rogue.addr()).await;
    let got = fetch(&mut client, "/", "").await;
    (rogue, got)
}

async fn error(fault: Fault) -> String {
    let (_rogue, got) = ask(fault).await;
    let Err(error) = got else { panic!("a rogue was taken for an origin") };
    reason(&error).unwrap_or_else(|| error.to_string())
}

fn script(steps: Vec<Step>) -> Fault {
    Fault::Script(steps.into())
}

fn head(len: &str, end: bool) -> Step {
    Step::Head(fields(&[(":status", "200"), ("content-length", len)]), end)
}

#[tokio::test]
async fn a_correct_script_is_a_correct_answer() {
    let (rogue, got) = ask(script(answer(40_000))).await;
    assert_eq!(got.unwrap().body.len(), 40_000);
    let record = rogue.journal().until("the answer", |record| record.completed == 1).await;
    assert_eq!(record.requests[0].field("x-request-id"), Some("/"));
}

#[tokio::test]
async fn broken_answers_are_broken() {
    let reset = |code| Step::Reset(code);
    assert!(error(script(vec![reset(2)])).await.contains("unexpected internal error"));
    assert!(error(script(vec![head("9", false), Step::Data(3, false), reset(8)])).await.contains("no longer needed"));
    assert!(error(script(vec![head("9", false), Step::Data(3, true)])).await.contains("protocol"));
    assert!(error(script(vec![head("9", true)])).await.contains("protocol"));
    assert!(error(script(vec![head("9", false), Step::Data(10, true)])).await.contains("protocol"));
    let garbage = Step::Frame(kind::HEADERS, flag::END_HEADERS, On::Stream, vec![0xff, 0xff, 0xff].into());
    assert!(error(script(vec![garbage])).await.contains("protocol"));
    let elsewhere = Step::Frame(kind::DATA, flag::NONE, On::Connection, vec![0].into());
    assert!(error(script(vec![elsewhere])).await.contains("protocol"));
    error(script(vec![head("9", false), Step::Data(3, false), Step::Close])).await;
}

#[tokio::test]
async fn connections_that_are_no_http2() {
    for fault in [Fault::CloseOnAccept, Fault::CloseAfterPreface, Fault::Http1] {
        let rogue = Rogue::start(fault.clone()).await;
        let tcp = tokio::net::TcpStream::connect(rogue.addr()).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(tcp);
        let executor = hyper_util::rt::TokioExecutor::new();
        if let Ok((mut sender, connection)) = hyper::client::conn::http2::handshake(executor, io).await {
            tokio::spawn(connection);
            assert!(fetch(&mut sender, "/", "").await.is_err(), "{fault:?}");
        }
        rogue.journal().until("the end of the connection", |record| record.closed == 1).await;
    }
}

#[tokio::test]
async fn a_mute_origin_never_answers() {
    let rogue = Rogue::start(Fault::Mute).await;
    let mut client = dial(rogue.addr()).await;
    let waiting = client.send_request(request("/", ""));
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
}

#[tokio::test]
async fn goaway_every_so_often_keeps_exact_books() {
    let rogue = Rogue::start(Fault::GoawayEvery(3)).await;
    let (mut answered, mut sent) = (0, 0);
    while answered < 10 {
        let mut client = dial(rogue.addr()).await;
        while fetch(&mut client, &format!("/{sent}"), "body").await.is_ok() {
            (answered, sent) = (answered + 1, sent + 1);
        }
        sent += 1;
    }
    let record = rogue.journal().now();
    assert_eq!(record.requests.len(), answered);
    assert_eq!(record.completed, answered);
    assert_eq!(record.connections, answered / 3);
    assert!(record.duplicates().is_empty());
}

#[tokio::test]
async fn refuses_first_then_answers() {
    let (rogue, got) = ask(Fault::RefuseFirst(1)).await;
    assert!(got.is_err());
    let mut client = dial(rogue.addr()).await;
    assert_eq!(fetch(&mut client, "/again", "").await.unwrap().status, 200);
    let record = rogue.journal().now();
    assert_eq!((record.refused, record.requests.len()), (1, 1));
}

#[tokio::test]
async fn a_stream_limit_is_announced() {
    let rogue = Rogue::start(Fault::StreamLimit(2)).await;
    let mut client = dial(rogue.addr()).await;
    fetch(&mut client, "/settings-are-known-now", "").await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let mut client = client.clone();
        tasks.spawn(async move { fetch(&mut client, &format!("/{number}"), "").await.is_ok() });
    }
    assert!(wait::within("all answers", tasks.join_all()).await.into_iter().all(|ok| ok));
    let record = rogue.journal().now();
    assert_eq!((record.requests.len(), record.refused), (21, 0));
}

#[tokio::test]
async fn zero_window_takes_no_body() {
    let mut script = Script::from(answer(1));
    (script.settings, script.credit, script.after_request) = (vec![(setting::INITIAL_WINDOW_SIZE, 0)], false, true);
    let rogue = Rogue::start(Fault::Script(script)).await;
    let mut client = dial(rogue.addr()).await;
    fetch(&mut client, "/settings-are-known-now", "").await.unwrap();
    let waiting = client.send_request(request("/", "body"));
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
    assert_eq!(rogue.journal().now().body_bytes, 0);
}

#[tokio::test]
async fn a_client_that_counts_ends_a_flood() {
    // hyper bounds these two; the others are for clients that promise more.
    for flood in [Flood::Continuation, Flood::Settings] {
        let rogue = Rogue::start(Fault::Flood(flood)).await;
        let mut client = dial(rogue.addr()).await;
        let _ = tokio::time::timeout(Duration::from_millis(500), fetch(&mut client, "/", "")).await;
        drop(client);
        if flood == Flood::Continuation {
            rogue.journal().until("the client to hang up", |record| record.closed == 1).await;
        }
        assert_eq!(rogue.journal().now().connections, 1);
    }
}
