//! Tenants, users, devices, lines and peers over HTTP, with a real store.
#![allow(missing_docs, reason = "tests are sentences")]

mod support;

use offhook_switch::{directory::LineId, fact::LineState, summary::LineSummary};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::World;

const LINES: &str = "/api/v1/tenants/default/lines";
const PEERS: &str = "/api/v1/tenants/default/peers";

#[tokio::test]
async fn a_new_line_gets_a_password_that_is_told_once() {
    let world = World::new().await;
    let (status, made) =
        world.send(Method::POST, LINES, json!({ "name": "101", "display_name": "Anna" })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert!(made["password"].as_str().unwrap().len() >= 8);
    assert_eq!(made["display_name"], "Anna");
    let (_, read) = world.get(&format!("{LINES}/101")).await;
    assert_eq!(read.get("password"), None);
    assert_eq!(*world.node.directory_changes.lock().unwrap(), 1, "the node learns of it before the answer");
}

#[tokio::test]
async fn a_line_shows_its_live_state_summed_over_workers() {
    let world = World::new().await;
    let (_, made) = world.send(Method::POST, LINES, json!({ "name": "101" })).await;
    let line = LineId(made["id"].as_u64().unwrap());
    *world.node.lines.lock().unwrap() = vec![
        LineSummary { line, state: LineState::Busy, calls: 1, bindings: 0 },
        LineSummary { line, state: LineState::Ringing, calls: 1, bindings: 2 },
    ];
    let (_, read) = world.get(&format!("{LINES}/101")).await;
    assert_eq!((&read["state"], &read["calls"], &read["bindings"]), (&json!("busy"), &json!(2), &json!(2)));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_takes_away() {
    let world = World::new().await;
    world.send(Method::POST, LINES, json!({ "name": "101", "display_name": "Anna", "calls_max": 3 })).await;
    let path = format!("{LINES}/101");
    let (status, changed) =
        world.send(Method::PATCH, &path, json!({ "display_name": null, "enabled": false })).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(
        (&changed["display_name"], &changed["enabled"], &changed["calls_max"]),
        (&json!(null), &json!(false), &json!(3))
    );
    assert_eq!(changed.get("password"), None, "the password stays");
    let (_, reset) = world.send(Method::PATCH, &path, json!({ "generate_password": true })).await;
    assert!(reset["password"].is_string());
}

#[tokio::test]
async fn all_wrong_values_are_named_at_once_and_nothing_changes() {
    let world = World::new().await;
    let (status, problem) =
        world.send(Method::POST, LINES, json!({ "name": "a b", "calls_max": 0, "bindings_max": 1000 })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3, "{problem}");
    assert!(problem["hint"].is_string());
    let (_, page) = world.get(LINES).await;
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn a_peer_takes_the_same_settings_at_its_making_and_later_and_hides_its_secret() {
    let world = World::new().await;
    let new = json!({
        "name": "carrier", "sources": ["192.0.2.0/24"], "host": "sip.example.net", "transport": "tls",
        "username": "u", "secret": "hidden-from-all", "prefixes": ["+49"],
    });
    let (status, made) = world.send(Method::POST, PEERS, new).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert!(!made.to_string().contains("hidden-from-all"));
    assert_eq!((&made["has_secret"], &made["transport"]), (&json!(true), &json!("tls")));
    let path = format!("{PEERS}/carrier");
    let (_, changed) = world.send(Method::PATCH, &path, json!({ "username": null, "transport": null })).await;
    assert_eq!((&changed["has_secret"], &changed["transport"]), (&json!(false), &json!(null)));
    assert_eq!(changed["sources"], json!(["192.0.2.0/24"]));
    let (status, problem) = world.send(Method::PATCH, &path, json!({ "sources": ["nonsense"] })).await;
    assert_eq!(
        (status, &problem["errors"][0]["path"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("sources[0]"))
    );
    let (status, _) = world.send(Method::POST, PEERS, json!({ "name": "x", "sauces": [] })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a misspelt field is no silent default");
}

/// Goal: no word of a parser's reaches a person: every answer says what is wrong, where, and what is allowed.
#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_plain_words() {
    let world = World::new().await;
    let inner = [
        "deserialize",
        "unknown field",
        "variant",
        "invalid type",
        "expected",
        "u16",
        "serde",
        "digit found",
    ];
    let told = async |sent: (StatusCode, Value)| {
        let (status, problem) = sent;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        let text = problem.to_string();
        assert!(inner.iter().all(|word| !text.contains(word)), "{text}");
        format!("{} | {}", problem["detail"].as_str().unwrap(), problem["hint"].as_str().unwrap())
    };
    let post = async |path: &str, body: Value| told(world.send(Method::POST, path, body).await).await;
    assert!(post(LINES, json!({ "name": "101", "cals_max": 3 })).await.contains("did you mean `calls_max`?"));
    assert!(post(LINES, json!({})).await.contains("`name` is missing"));
    assert_eq!(
        post(LINES, json!({ "name": "101", "calls_max": "many" })).await,
        "calls_max: \"many\" does not fit | allowed: a whole number from 0 to 65535"
    );
    assert_eq!(
        post(LINES, json!({ "name": "101", "may_call": "all" })).await,
        "may_call: unknown word `all` | allowed: inside, outside"
    );
    assert!(post(PEERS, json!({ "name": "x", "sauces": [] })).await.contains("did you mean `sources`?"));
    let broken =
        world.request(Method::POST, LINES).header("content-type", "application/json").body("{\n\"name\" 1}");
    let broken = told(support::json_of(broken.send().await.unwrap()).await).await;
    assert!(broken.starts_with("the body is not JSON: it breaks in line 2, column 8"), "{broken}");
    let get = async |path: &str| told(world.get(path).await).await;
    assert!(
        get("/api/v1/records?cause=busi")
            .await
            .starts_with("cause: unknown word `busi` | did you mean `busy`?")
    );
    assert!(get("/api/v1/records?limit=many").await.starts_with("limit: not a whole number"));
    assert!(get("/api/v1/calls?tennant=x").await.contains("did you mean `tenant`?"));
}

#[tokio::test]
async fn a_line_with_an_emergency_number_is_made_with_a_warning() {
    let world = World::new().await;
    let (_, made) = world.send(Method::POST, LINES, json!({ "name": "112" })).await;
    assert!(made["warnings"][0].as_str().unwrap().contains("112 is an emergency number"), "{made}");
    let (_, made) = world.send(Method::POST, LINES, json!({ "name": "113" })).await;
    assert_eq!(made["warnings"], json!(null), "{made}");
    let (_, status) = world.get("/api/v1/status").await;
    assert!(status["warnings"].to_string().contains("lead nowhere: no peer takes 112, 110, 911"), "{status}");
}

#[tokio::test]
async fn tenants_users_and_devices_are_made_changed_and_removed() {
    let world = World::new().await;
    let (status, tenant) = world
        .send(Method::POST, "/api/v1/tenants", json!({ "name": "acme", "domains": ["acme.example"] }))
        .await;
    assert_eq!((status, &tenant["realm"]), (StatusCode::CREATED, &json!("acme.example")));
    let users = "/api/v1/tenants/acme/users";
    world.send(Method::POST, users, json!({ "name": "anna", "full_name": "Anna Example" })).await;
    world.send(Method::POST, "/api/v1/tenants/acme/lines", json!({ "name": "101", "user": "anna" })).await;
    let devices = "/api/v1/tenants/acme/devices";
    let (status, _) =
        world.send(Method::POST, devices, json!({ "name": "desk", "kind": "desk phone" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, device) =
        world.send(Method::PATCH, &format!("{devices}/desk"), json!({ "lines": ["101"] })).await;
    assert_eq!(device["lines"], json!(["101"]));
    let (_, user) = world.send(Method::PATCH, &format!("{users}/anna"), json!({ "full_name": null })).await;
    assert_eq!(user["full_name"], json!(null));
    let (_, tenant) = world
        .send(Method::PATCH, "/api/v1/tenants/acme", json!({ "domains": ["acme.example", "acme.test"] }))
        .await;
    assert_eq!(tenant["domains"].as_array().unwrap().len(), 2);
    let (status, problem) = world.send(Method::DELETE, "/api/v1/tenants/acme", json!(null)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    for path in [format!("{devices}/desk"), "/api/v1/tenants/acme/lines/101".into(), format!("{users}/anna")]
    {
        assert_eq!(world.send(Method::DELETE, &path, json!(null)).await.0, StatusCode::NO_CONTENT, "{path}");
    }
    assert_eq!(
        world.send(Method::DELETE, "/api/v1/tenants/acme", json!(null)).await.0,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_list_comes_in_pages_within_bounds() {
    let world = World::new().await;
    for name in ["103", "101", "102"] {
        world.send(Method::POST, LINES, json!({ "name": name, "password": "a-long-password" })).await;
    }
    let (_, first) = world.get(&format!("{LINES}?limit=2")).await;
    let names = |page: &serde_json::Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["name"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["101", "102"]);
    let (_, rest) = world.get(&format!("{LINES}?limit=2&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!((names(&rest), rest.get("next")), (vec!["103".to_string()], None));
    for bad in ["limit=0", "limit=1001", "limit=x", "unknown=1"] {
        assert_eq!(world.get(&format!("{LINES}?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_there_is_not_made_twice() {
    let world = World::new().await;
    let (status, problem) = world.get(&format!("{LINES}/999")).await;
    assert_eq!((status, &problem["detail"]), (StatusCode::NOT_FOUND, &json!("there is no line 999@default")));
    assert_eq!(world.get("/api/v1/tenants/nobody/lines").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.send(Method::PATCH, &format!("{LINES}/999"), json!({})).await.0, StatusCode::NOT_FOUND);
    world.send(Method::POST, LINES, json!({ "name": "101" })).await;
    assert_eq!(world.send(Method::POST, LINES, json!({ "name": "101" })).await.0, StatusCode::CONFLICT);
}

const SITE: &str =
    "[tenants.default.lines.101]\ngenerate = true\n[tenants.default.lines.102]\ngenerate = true\n";

#[tokio::test]
async fn a_site_is_planned_then_applied_whole_and_the_second_time_nothing_is_left_to_do() {
    let world = World::new().await;
    let post = |path: &str, body: &'static str| world.request(Method::POST, path).body(body).send();
    let (status, plan) = support::json_of(post("/api/v1/apply/plan", SITE).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{plan}");
    assert_eq!(plan["changes"], json!(["+ line 101@default", "+ line 102@default"]));
    assert_eq!(world.get(LINES).await.1["items"], json!([]), "a plan changes nothing");
    let path = format!("/api/v1/apply?generation={}", plan["generation"]);
    let (_, done) = support::json_of(post(&path, SITE).await.unwrap()).await;
    assert_eq!(done["passwords"].as_array().unwrap().len(), 2, "{done}");
    let (status, _) = support::json_of(post(&path, SITE).await.unwrap()).await;
    assert_eq!(status, StatusCode::CONFLICT, "the plan is of yesterday");
    let (_, plan) = support::json_of(post("/api/v1/apply/plan", SITE).await.unwrap()).await;
    assert_eq!(plan["changes"], json!([]), "a made password stays");
}

#[tokio::test]
async fn a_broken_site_document_is_shown_with_line_and_column() {
    let world = World::new().await;
    let body = "[tenants.default.lines.101]\ncals_max = 3\n";
    let response = world.request(Method::POST, "/api/v1/apply").body(body).send().await.unwrap();
    let (status, problem) = support::json_of(response).await;
    assert_eq!(
        (status, &problem["errors"][0]["path"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("line 2, column 1"))
    );
}
