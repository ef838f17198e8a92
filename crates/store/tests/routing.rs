//! The routing in the store: versions, tables, and what is refused.

use offhook_base::{Random, UtcMillis};
use offhook_store::{Author, Item, PeerSpec, RoutingError, Store};
use offhook_switch::directory::Directory;

const DOCUMENT: &str = r#"
[tenants.default.sets.world]
members = [{ peer = "alpha" }, { peer = "beta" }]

[[tenants.default.routes]]
prefixes = ["+49"]
to = ["world"]

[[tenants.default.routes]]
table = "rates"
"#;

fn author() -> Author {
    Author::new("test", UtcMillis(1))
}

async fn store(folder: &tempfile::TempDir) -> Store {
    let store = Store::open(folder.path()).await.unwrap();
    for name in ["alpha", "beta"] {
        let mut peer = PeerSpec::new("default", name);
        peer.host = Some("192.0.2.1".into());
        store.add(&author(), Item::Peer(peer)).await.unwrap();
    }
    store
}

fn prefixes(directory: &Directory) -> usize {
    directory.routing().of("default").map_or(0, offhook_switch::routing::TenantRouting::prefix_count)
}

#[tokio::test]
async fn a_change_is_a_version_and_an_earlier_one_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    assert!(store.routing_version(None).await.unwrap().is_none());
    let refused = store.set_routing(&author(), DOCUMENT, "").await.unwrap_err().to_string();
    assert!(refused.contains("routes[1].table: there is no table \"rates\""), "{refused}");
    store.set_routing_table(&author(), "default", "rates", "+33,alpha,0.1\n+34,world\n").await.unwrap();
    assert_eq!(store.set_routing(&author(), DOCUMENT, "first").await.unwrap(), 1);
    assert_eq!(prefixes(&store.load_directory().await.unwrap()), 3);
    let needed = store.remove_routing_table(&author(), "default", "rates").await.unwrap_err();
    assert!(matches!(needed, RoutingError::Faults(_)));

    assert_eq!(store.set_routing(&author(), "", "").await.unwrap(), 2);
    assert_eq!(prefixes(&store.load_directory().await.unwrap()), 0);
    assert_eq!(store.restore_routing(&author(), 1).await.unwrap(), 3);
    let now = store.routing_version(None).await.unwrap().unwrap();
    assert_eq!((now.note.as_str(), now.document.as_str()), ("back to version 1", DOCUMENT));
    assert_eq!(store.routing_versions().await.unwrap().len(), 3);

    store.set_routing_table(&author(), "default", "rates", "+33,alpha\n").await.unwrap();
    assert_eq!(prefixes(&store.load_directory().await.unwrap()), 2, "without another version");
    let gone = store.set_routing_table(&author(), "default", "rates", "+33,gamma\n").await.unwrap_err();
    assert!(gone.to_string().contains("there is no peer, set or line \"gamma\""), "{gone}");
    let audit = store.audit(None, 10).await.unwrap();
    assert_eq!((audit[0].kind.as_str(), audit[0].name.as_str()), ("routing", "rates"));
}

#[tokio::test]
async fn a_mistake_is_told_with_its_place_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let document = "[[tenants.default.routes]]\nprefixes = [\"+4 9\"]\nto = [\"alhpa\"]\nhours = [\"8-9\"]\n";
    let told = store.set_routing(&author(), document, "").await.unwrap_err().to_string();
    for part in ["routes[0].prefixes[0]: ", "routes[0].to[0]: there is no peer", "routes[0].hours: \"8-9\""] {
        assert!(told.contains(part), "{told}");
    }
    let told = store.check_routing("[tenants.default.set.a]\n").await.unwrap_err().to_string();
    assert!(told.starts_with("line 1, column 18: unknown key `set`; did you mean `sets`?"), "{told}");
    assert!(store.routing_versions().await.unwrap().is_empty());
}

/// Goal: a million prefixes can be loaded and asked. Method: made numbers; the answer of a look at every prefix.
#[tokio::test]
async fn a_million_prefixes_come_into_force() {
    use std::fmt::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let mut random = Random::from_number(7);
    let mut table = String::new();
    for _ in 0..1_000_000 {
        let _ = writeln!(table, "+{},world,0.01", 1_000_000 + random.below(90_000_000));
    }
    store.set_routing_table(&author(), "default", "rates", &table).await.unwrap();
    store.set_routing(&author(), DOCUMENT, "").await.unwrap();
    let directory = store.load_directory().await.unwrap();
    assert!(prefixes(&directory) > 900_000);
}
