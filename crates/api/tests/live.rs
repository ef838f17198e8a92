//! The node seen through the API: calls, registrations, streams, records, health, metrics, tokens, WebSocket.
#![allow(missing_docs, reason = "tests are sentences")]

mod support;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use offhook_api::{Settings, control::Direction, control::TracedMessage};
use offhook_base::{DataSubject, Personal};
use offhook_switch::{
    fact::{Fact, What},
    media::StreamQuality,
    record::{CallId, CallRecord, LegRecord, LegRole},
    summary::RegistrationSummary,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{NOW, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn everything_but_health_needs_a_valid_token() {
    let world = World::new().await;
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(world.bare(Method::GET, path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    for path in [
        "/api/v1/status",
        "/api/v1/tenants",
        "/api/v1/calls",
        "/api/v1/records",
        "/api/v1/events",
        "/api/v1/no",
    ] {
        let response = world.bare(Method::GET, path).send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        let wrong = world.bare(Method::GET, path).bearer_auth("offhook_wrong").send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_method_are_problems_too() {
    let world = World::new().await;
    assert_eq!(world.get("/api/v1/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.send(Method::PUT, "/api/v1/calls", json!({})).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.get("/nothing").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn calls_are_listed_read_and_hung_up() {
    let world = World::new().await;
    let (first, second) = (world.call(1), world.call(2));
    let (_, page) = world.get("/api/v1/calls").await;
    let ids: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [first.as_str(), second.as_str()]);
    assert_eq!(page["items"][0]["caller"], "sip:101@example.org");
    let path = format!("/api/v1/calls/{second}");
    assert_eq!(world.get(&path).await.1["phase"], "established");
    assert_eq!(world.send(Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(*world.node.hung_up.lock().unwrap(), [second]);
    let gone = CallId::new(NOW, &mut offhook_base::Random::from_number(9));
    assert_eq!(
        world.send(Method::DELETE, &format!("/api/v1/calls/{gone}"), Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(world.get("/api/v1/calls/nonsense").await.0, StatusCode::BAD_REQUEST);
    let (status, problem) = world.get("/api/v1/calls?tenant=defalt").await;
    assert_eq!((status, &problem["detail"]), (StatusCode::NOT_FOUND, &json!("there is no tenant defalt")));
    assert_eq!(problem["hint"], "did you mean default? `offhook tenant list` shows all");
}

/// Goal: a name that is not there does not look like one where nothing happens.
#[tokio::test]
async fn an_unknown_name_in_a_filter_is_told_with_a_near_one() {
    let world = World::new().await;
    world.send(Method::POST, "/api/v1/tenants/default/lines", json!({ "name": "101" })).await;
    for path in
        ["registrations?tenant=x", "trace?peer=x", "trace?line=109", "records?line=109", "records?tenant=x"]
    {
        let (status, problem) = world.get(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {problem}");
        let line = path.contains("line").then_some("did you mean 101?");
        assert!(
            problem["hint"].as_str().unwrap().starts_with(line.unwrap_or("`offhook")),
            "{path}: {problem}"
        );
    }
    assert_eq!(world.get("/api/v1/records?line=101").await.1["items"], json!([]), "a line without calls");
    assert_eq!(world.get("/api/v1/registrations?tenant=default").await.1["items"], json!([]));
}

#[tokio::test]
async fn registrations_are_listed_by_line() {
    let world = World::new().await;
    let binding = |name: &str| RegistrationSummary {
        line: offhook_switch::directory::LineId(1),
        tenant: "default".into(),
        name: name.into(),
        contact: Personal::new(format!("sip:{name}@192.0.2.7"), DataSubject::Subscriber),
        remote: Personal::new("192.0.2.7:5060".into(), DataSubject::Subscriber),
        transport: "udp".into(),
        user_agent: None,
        expires: NOW,
        q_millis: 500,
    };
    *world.node.registrations.lock().unwrap() = vec![binding("102"), binding("101")];
    let (_, page) = world.get("/api/v1/registrations").await;
    assert_eq!((&page["items"][0]["line"], &page["items"][0]["q"]), (&json!("101"), &json!(0.5)));
}

/// Reads until the stream has said `text`.
async fn read_until(response: &mut reqwest::Response, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let chunk = response.chunk().await.unwrap().expect("the stream stays open");
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    seen
}

#[tokio::test]
async fn facts_are_streamed_masked_and_in_clear_only_with_a_reason() {
    let world = World::new().await;
    let fact = Arc::new(Fact {
        at: NOW,
        what: What::CallStarted {
            call: world.call(1),
            tenant: "default".into(),
            caller: Personal::new("sip:101@example.org".into(), DataSubject::Caller),
            callee: Personal::new("sip:+4930123456@example.org".into(), DataSubject::Callee),
        },
    });
    let mut masked = world.request(Method::GET, "/api/v1/events").send().await.unwrap();
    assert_eq!(masked.headers()["content-type"], "text/event-stream");
    let mut clear =
        world.request(Method::GET, "/api/v1/events?unmask=true&reason=ticket+7").send().await.unwrap();
    world.node.facts.send(fact).unwrap();
    let seen = read_until(&mut masked, "\n\n").await;
    assert!(seen.contains("event: call_started") && !seen.contains("4930"), "{seen}");
    assert!(read_until(&mut clear, "\n\n").await.contains("+4930123456"));
    let (status, problem) = world.get("/api/v1/events?unmask=true").await;
    assert_eq!((status, &problem["errors"][0]["path"]), (StatusCode::BAD_REQUEST, &json!("reason")));
}

#[tokio::test]
async fn a_trace_shows_the_messages_of_its_filter_and_ends_with_the_node() {
    let world = World::new().await;
    world.send(Method::POST, "/api/v1/tenants/default/lines", json!({ "name": "101" })).await;
    let mut trace = world.request(Method::GET, "/api/v1/trace?line=101").send().await.unwrap();
    let (filter, sender) = world.node.traces.lock().unwrap().pop().unwrap();
    assert_eq!(filter.line, Some(("default".into(), "101".into())));
    let text = "OPTIONS sip:101@example.org SIP/2.0\r\nFrom: <sip:anna@example.org>;tag=a\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let message = TracedMessage {
        at: NOW,
        direction: Direction::Received,
        transport: "udp".into(),
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: Personal::new("198.51.100.7:5060".parse().unwrap(), DataSubject::RemoteParty),
        call: None,
        text: Personal::new(text.into(), DataSubject::RemoteParty),
    };
    sender.send(message).await.unwrap();
    let seen = read_until(&mut trace, "\n\n").await;
    assert!(seen.contains("CSeq: 1 OPTIONS") && seen.contains("received"), "{seen}");
    assert!(!seen.contains("anna") && !seen.contains("198.51"), "{seen}");
    drop(sender);
    assert!(read_until(&mut trace, "\n\n").await.starts_with("event: end\n"));
    assert_eq!(trace.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn streams_end_with_a_last_word_when_the_node_stops() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for path in ["/api/v1/events", "/api/v1/trace"] {
        streams.push(world.request(Method::GET, path).send().await.unwrap());
    }
    world.stop();
    for stream in &mut streams {
        assert!(read_until(stream, "\n\n").await.contains("event: end\n"));
        assert_eq!(stream.chunk().await.unwrap(), None, "it ends whole, it does not break off");
    }
}

/// A record whose caller shows `name`.
fn named(seed: u64, name: &str) -> Arc<CallRecord> {
    let mut record = Arc::unwrap_or_clone(support::record(seed));
    record.caller_name = Some(Personal::new(name.into(), DataSubject::Caller));
    let quality = |codec: &str, packets_received, packets_lost, jitter_ms| StreamQuality {
        codec: codec.into(),
        packets_received,
        packets_lost,
        jitter_ms,
        ..StreamQuality::default()
    };
    let leg = |role, answered, streams| LegRecord {
        role,
        line: None,
        peer: None,
        remote: Personal::new("192.0.2.7:5060".into(), DataSubject::RemoteParty),
        transport: "udp".into(),
        user_agent: None,
        sip_call_id: Personal::new("x".into(), DataSubject::RemoteParty),
        started: NOW,
        ringing: None,
        answered,
        ended: NOW,
        status: None,
        streams,
    };
    let heard =
        StreamQuality { round_trip_ms: Some(20.0), mos: Some(4.1), ..quality("PCMA/8000", 300, 100, 4.5) };
    record.legs = vec![
        leg(LegRole::Caller, Some(NOW), vec![heard]),
        leg(LegRole::Callee, Some(NOW), vec![quality("opus/48000", 500, 0, 1.0)]),
        leg(LegRole::Callee, None, vec![quality("G722/8000", 1, 0, 1.0)]),
    ];
    Arc::new(record)
}

#[tokio::test]
async fn records_are_filtered_paged_and_exported_and_the_access_is_logged() {
    let world = World::new().await;
    world.store.write_records(&[named(1, "Anna"), named(2, "=1+1"), named(3, "Ben, jr.")]).await.unwrap();
    let (status, page) = world.get("/api/v1/records?limit=2&reason=ticket+7").await;
    assert_eq!((status, page["items"].as_array().unwrap().len()), (StatusCode::OK, 2), "{page}");
    assert_eq!(page["items"][0]["talk_ms"], 1500);
    let (_, rest) =
        world.get(&format!("/api/v1/records?limit=2&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    let (_, one) = world.get(&format!("/api/v1/records/{}", rest["items"][0]["id"].as_str().unwrap())).await;
    assert_eq!(one["caller_name"], "Anna");
    assert_eq!(world.get("/api/v1/records?cause=busy").await.1["items"], json!([]));
    assert_eq!(world.get("/api/v1/records?from=2099-01-01").await.1["items"], json!([]));
    for bad in ["cause=nonsense", "from=yesterday", "after=x", "limit=5000"] {
        assert_eq!(world.get(&format!("/api/v1/records?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let csv = world.request(Method::GET, "/api/v1/records?format=csv&limit=2").send().await.unwrap();
    assert!(csv.headers().contains_key("offhook-next"));
    let text = csv.text().await.unwrap();
    assert_eq!(text.lines().count(), 3);
    let quality = "caller_codec,caller_packets,caller_loss,caller_jitter_ms,caller_round_trip_ms,caller_mos,callee_codec";
    assert!(text.contains(quality), "{text}");
    // The callee that answered, not the one that only rang.
    assert!(text.contains(",PCMA/8000,300,0.2500,4.5,20.0,4.10,opus/48000,500,0.0000,1.0,,\r\n"), "{text}");
    assert!(
        text.contains("\"Ben, jr.\"") && text.contains("\"'=1+1\"") && text.contains("hung_up"),
        "{text}"
    );
    assert_eq!(
        world.store.verify_access_log().await.unwrap(),
        Ok(6),
        "each answered look at records is an entry"
    );
}

#[tokio::test]
async fn readiness_follows_the_node_and_draining_is_asked_for() {
    let world = World::new().await;
    let ready = async || world.bare(Method::GET, "/readyz").send().await.unwrap().status();
    assert_eq!(ready().await, StatusCode::OK);
    assert_eq!(world.send(Method::POST, "/api/v1/drain", Value::Null).await.0, StatusCode::ACCEPTED);
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.get("/api/v1/status").await.1["readiness"], "draining");
}

#[tokio::test]
async fn metrics_are_in_the_openmetrics_format() {
    let world = World::new().await;
    let text = world.bare(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert_eq!(
        text,
        "# HELP offhook_calls Calls that are on now.\n# TYPE offhook_calls gauge\noffhook_calls 2.0\n\
         # HELP offhook_refusals Requests that were refused.\n# TYPE offhook_refusals counter\n\
         offhook_refusals_total{why=\"malformed\"} 3.0\noffhook_refusals_total{why=\"rate\"} 4.0\n# EOF\n"
    );
}

#[tokio::test]
async fn a_replaced_token_is_void_at_once_and_the_last_one_stays() {
    let world = World::new().await;
    assert_eq!(world.send(Method::DELETE, "/api/v1/tokens/admin", Value::Null).await.0, StatusCode::CONFLICT);
    let (status, other) = world.send(Method::POST, "/api/v1/tokens", json!({ "name": "backup" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, new) = world.send(Method::POST, "/api/v1/tokens/admin/replace", Value::Null).await;
    assert_eq!(world.get("/api/v1/status").await.0, StatusCode::UNAUTHORIZED);
    for token in [&other["token"], &new["token"]] {
        let list = world
            .bare(Method::GET, "/api/v1/tokens")
            .bearer_auth(token.as_str().unwrap())
            .send()
            .await
            .unwrap();
        let (_, page) = support::json_of(list).await;
        assert_eq!(page["items"].as_array().unwrap().len(), 2);
        assert!(!page.to_string().contains(token.as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_costs_a_request_its_time_and_no_more() {
    let settings = Settings { request_timeout: Duration::from_millis(20), ..Settings::default() };
    let world = World::with(settings, None).await;
    *world.node.stuck.lock().unwrap() = true;
    assert_eq!(world.get("/api/v1/calls").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let world = World::with(Settings { body_max_bytes: 100, ..Settings::default() }, None).await;
    let body = json!({ "name": "x".repeat(200) });
    let (status, _) = world.send(Method::POST, "/api/v1/tenants/default/lines", body).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_stream_behind_a_sip_websocket_handshake_is_handed_on() {
    let (handed, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let handed = Mutex::new(handed);
    let hook = Arc::new(move |socket| drop(handed.lock().unwrap().send(socket)));
    let world = World::with(Settings::default(), Some(hook)).await;
    let mut client = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let request = "GET /sip HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\nfirst";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut socket: offhook_api::SipWebSocket = streams.recv().await.unwrap();
    assert_eq!(socket.remote, client.local_addr().unwrap());
    assert_eq!(socket.local, world.address);
    let mut early = [0; 5];
    socket.stream.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"first", "what came right behind the handshake is not lost");
    socket.stream.write_all(b"frame").await.unwrap();
    socket.stream.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") && answer.ends_with("\r\n\r\nframe"), "{answer}");
}

#[tokio::test]
async fn a_plain_request_to_the_sip_door_is_told_what_it_speaks() {
    let world = World::with(Settings::default(), Some(Arc::new(|_| {}))).await;
    assert_eq!(world.get("/sip").await.0, StatusCode::UPGRADE_REQUIRED);
    let without = World::new().await;
    assert_eq!(without.get("/sip").await.0, StatusCode::NOT_FOUND);
}

#[test]
fn the_reference_page_of_the_api_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let document = offhook_api::openapi_json();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &document).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == document,
        "docs/reference/openapi.json is old: run UPDATE_DOCS=1 cargo test -p offhook-api"
    );
}
