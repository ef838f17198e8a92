//! The guard at the edge by the API.
#![allow(missing_docs, reason = "tests are sentences")]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::json;
use support::{World, json_of};

#[tokio::test]
async fn who_sends_most_and_who_is_banned_is_shown_and_bans_begin_and_end() {
    let world = World::new().await;
    let (status, edge) = world.get("/api/v1/edge").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(edge["sources"][0]["peer"], "default/carrier");
    assert_eq!(edge["refused"]["banned"], 0);
    let ban = json!({ "address": "203.0.113.7", "seconds": 60 });
    assert_eq!(world.send(Method::POST, "/api/v1/edge/bans", ban).await.0, StatusCode::NO_CONTENT);
    let (_, edge) = world.get("/api/v1/edge").await;
    assert_eq!((edge["bans"][0]["source"].as_str(), edge["banned"].as_u64()), (Some("203.0.113.7"), Some(1)));
    let (_, look) = world.get("/api/v1/edge/sources/203.0.113.7").await;
    assert_eq!(look["verdict"], "dropped: an operator banned it");
    for (status, again) in [(StatusCode::NO_CONTENT, "first"), (StatusCode::NOT_FOUND, "second")] {
        let answer = world.send(Method::DELETE, "/api/v1/edge/bans/203.0.113.7", json!(null)).await;
        assert_eq!(answer.0, status, "{again}");
    }
    let (status, problem) =
        world.send(Method::POST, "/api/v1/edge/bans", json!({ "address": "x", "seconds": 1 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let forever = json!({ "address": "203.0.113.7", "seconds": 0 });
    assert!(world.send(Method::POST, "/api/v1/edge/bans", forever).await.0.is_client_error());
}

#[tokio::test]
async fn networks_are_listed_moved_imported_and_taken_off() {
    let world = World::new().await;
    let path = "/api/v1/edge/networks";
    let network = |verdict: &str| json!({ "network": "203.0.113.0/24", "verdict": verdict, "note": "why" });
    for verdict in ["deny", "allow"] {
        assert_eq!(world.send(Method::POST, path, network(verdict)).await.0, StatusCode::NO_CONTENT);
    }
    let import = world.request(Method::POST, &format!("{path}/import?verdict=deny"));
    let import = json_of(import.body("192.0.2.0/24 # a\n2001:db8::/32\n").send().await.unwrap()).await;
    assert_eq!(import.0, StatusCode::NO_CONTENT, "{}", import.1);
    let (_, page) = world.get(path).await;
    let listed: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["network"].as_str().unwrap(), item["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(listed, [("192.0.2.0/24", "deny"), ("2001:db8::/32", "deny"), ("203.0.113.0/24", "allow")]);
    assert_eq!(*world.node.list_changes.lock().unwrap(), 3);
    let bad = world.request(Method::POST, &format!("{path}/import?verdict=deny")).body("192.0.2.0/24\nx\n");
    let (status, problem) = json_of(bad.send().await.unwrap()).await;
    assert!(status.is_client_error() && problem.to_string().contains("line 2"), "{problem}");
    let gone = format!("{path}?network=192.0.2.0/24");
    assert_eq!(world.send(Method::DELETE, &gone, json!(null)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.send(Method::DELETE, &gone, json!(null)).await.0, StatusCode::NOT_FOUND);
    let audit = world.store.audit(None, 10).await.unwrap();
    let actions: Vec<_> = audit.iter().map(|entry| (entry.action.as_str(), entry.name.as_str())).collect();
    assert_eq!(
        actions[..4],
        [
            ("remove", "192.0.2.0/24"),
            ("deny", "2 networks"),
            ("allow", "203.0.113.0/24"),
            ("deny", "203.0.113.0/24")
        ]
    );
}
