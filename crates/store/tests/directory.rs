//! The data directory, its lines, passwords, peers and tokens.

mod common;
mod old_schema;

use std::os::unix::fs::PermissionsExt;

use common::{NOW, author};
use offhook_store::{
    DeviceSpec, EditError, Item, ItemKey, Kind, LineChange, LineSpec, OpenError, Password, PeerSecret,
    PeerSpec, Role, Store, TenantSpec, TokenError, UserSpec, hash_password,
};
use offhook_switch::directory::{CallPermission, Line, Secret, Srtp};
use old_schema::take_back_to_the_first;

#[tokio::test]
async fn a_new_directory_is_private_and_is_opened_by_one_node_only() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/data");
    let store = Store::open(&folder).await.unwrap();
    let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for file in ["site.db", "records.db", "secret.key"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    let second = Store::open(&folder).await.unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(
        second.to_string().contains("in use by another node")
            && second.hint().contains("stop the other node")
    );
    drop(store);
    Store::open(&folder).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).await.unwrap());
    let file = format!("sqlite://{}", folder.path().join("site.db").display());
    let mut future = <sqlx::SqliteConnection as sqlx::Connection>::connect(&file).await.unwrap();
    sqlx::query("PRAGMA user_version = 999").execute(&mut future).await.unwrap();
    let error = Store::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn srtp_is_kept_for_lines_and_peers_and_is_auto_in_a_database_that_knows_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.add_line(&author(), LineSpec::new("default", "101")).await.unwrap();
    let change = LineChange { srtp: Some(Srtp::Always), ..LineChange::default() };
    store.set_line(&author(), "default", "101", change).await.unwrap();
    let peer = PeerSpec { srtp: Srtp::Never, ..PeerSpec::new("default", "carrier") };
    store.add(&author(), Item::Peer(peer)).await.unwrap();
    let read = async |store: &Store| {
        let directory = store.load_directory().await.unwrap();
        (directory.line("default", "101").unwrap().srtp, directory.peers()[0].srtp)
    };
    assert_eq!(read(&store).await, (Srtp::Always, Srtp::Never));
    store.close().await;
    drop(store);

    take_back_to_the_first(folder.path()).await;
    assert_eq!(read(&Store::open(folder.path()).await.unwrap()).await, (Srtp::Auto, Srtp::Auto));
}

#[tokio::test]
async fn a_line_is_added_found_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let by = author();
    let made =
        store.add_line(&by, LineSpec::new("default", "101")).await.unwrap().expect("a password was made");
    let directory = store.load_directory().await.unwrap();
    let line = directory.line("default", "101").expect("the line is there");
    assert_eq!(line.password, hash_password("101", "offhook", &made));
    assert_eq!((line.bindings_max, line.calls_max, line.may_call), (10, 10, CallPermission::Inside));
    let first_id = line.id;

    let again = store.add_line(&by, LineSpec::new("default", "101")).await.unwrap_err();
    assert_eq!(again.to_string(), "line 101@default exists already");

    let change = LineChange {
        display_name: Some(Some(Line::display_name_of("Anna"))),
        may_call: Some(CallPermission::Outside),
        password: Password::Clear(Secret::new("correct horse")),
        ..LineChange::default()
    };
    assert_eq!(store.set_line(&by, "default", "101", change).await.unwrap(), None);
    let line = store.line("default", "101").await.unwrap();
    assert_eq!(line.password, hash_password("101", "offhook", &Secret::new("correct horse")));
    assert_eq!((line.id, line.may_call), (first_id, CallPermission::Outside));
    assert!(line.display_name.is_some());

    let key = ItemKey::new(Kind::Line, "default", "101");
    store.remove(&by, &key).await.unwrap();
    assert_eq!(store.remove(&by, &key).await.unwrap_err().to_string(), "there is no line 101@default");
    store.add_line(&by, LineSpec::new("default", "101")).await.unwrap();
    assert_ne!(store.line_id("default", "101").await.unwrap(), first_id, "a line's number is not used again");
    assert_eq!(store.load_site().await.unwrap().generation, 4);

    let audit = store.audit(None, 10).await.unwrap();
    let told: Vec<_> = audit.iter().rev().map(|entry| format!("{} {}", entry.action, entry.fields)).collect();
    assert_eq!(told, ["add ", "set display_name,may_call,password", "remove ", "add "]);
    assert!(audit.iter().all(|entry| entry.name == "101" && entry.who == "test" && entry.when() == NOW));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let by = author();
    let said = async |item| store.add(&by, item).await.unwrap_err().to_string();
    assert_eq!(said(Item::Line(LineSpec::new("nowhere", "1"))).await, "there is no tenant nowhere");
    let mut line = LineSpec::new("default", "1");
    line.user = Some("nobody".into());
    assert_eq!(
        said(Item::Line(line)).await,
        "tenants.default.lines.1.user: there is no user 'nobody' in this tenant"
    );
    let device = DeviceSpec {
        tenant: "default".into(),
        name: "desk".into(),
        kind: "desk phone".into(),
        instance: None,
        lines: vec!["404".into()],
    };
    assert_eq!(
        said(Item::Device(device)).await,
        "tenants.default.devices.desk.lines[0]: there is no line '404' in this tenant"
    );
    assert!(matches!(store.remove(&by, &ItemKey::tenant("default")).await, Err(EditError::DefaultTenant)));
    let site = store.load_site().await.unwrap();
    assert_eq!((site.generation, site.lines.len(), site.devices.len()), (0, 0, 0));
}

#[tokio::test]
async fn domains_belong_to_one_tenant_and_realms_stay_while_there_are_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let by = author();
    let tenant = |name: &str, realm: Option<&str>| {
        let domains = vec!["voice.example.org".into()];
        Item::Tenant(TenantSpec { name: name.into(), domains, realm: realm.map(Into::into) })
    };
    store.add(&by, tenant("one", None)).await.unwrap();
    let taken = store.add(&by, tenant("two", None)).await.unwrap_err();
    assert_eq!(
        taken.to_string(),
        "tenants.two.domains[0]: the domain 'voice.example.org' belongs to tenant 'one'"
    );
    store.set(&by, tenant("one", Some("other realm"))).await.unwrap();
    store.add_line(&by, LineSpec::new("one", "101")).await.unwrap();
    assert!(store.set(&by, tenant("one", Some("third"))).await.is_err());
    store.set(&by, tenant("one", Some("other realm"))).await.unwrap();
    assert!(matches!(store.remove(&by, &ItemKey::tenant("one")).await, Err(EditError::NotEmpty(_))));
    let directory = store.load_directory().await.unwrap();
    let found = directory.tenant_of_domain("Voice.Example.org", || false).unwrap();
    assert_eq!((&*found.name, &*found.realm), ("one", "other realm"));
}

#[tokio::test]
async fn a_peers_secret_is_encrypted_on_disk_and_open_in_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let mut peer = PeerSpec::new("default", "carrier");
    peer.sources = vec!["192.0.2.0/24".parse().unwrap()];
    peer.host = Some("sip.example.net".into());
    peer.transport = Some("tls".parse().unwrap());
    peer.prefixes = vec!["+49".into(), String::new().into()];
    peer.username = Some("offhook".into());
    peer.secret = PeerSecret::Clear(Secret::new("trunk secret in clear"));
    store.add(&author(), Item::Peer(peer)).await.unwrap();
    let directory = store.load_directory().await.unwrap();
    let found = directory.peer_at("192.0.2.9".parse().unwrap()).expect("the peer is found by its address");
    assert_eq!(found.secret.as_ref().map(Secret::reveal), Some("trunk secret in clear"));
    store.close().await;
    drop(store);

    for file in ["site.db", "site.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(12).any(|window| window == b"trunk secret"), "{file}");
    }
    std::fs::remove_file(folder.path().join("secret.key")).unwrap();
    let error = Store::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::KeyMissing { .. }), "{error}");
}

#[tokio::test]
async fn users_and_devices_follow_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let by = author();
    let user = UserSpec { tenant: "default".into(), name: "anna".into(), full_name: None };
    store.add(&by, Item::User(user)).await.unwrap();
    let mut line = LineSpec::new("default", "101");
    line.user = Some("anna".into());
    store.add_line(&by, line).await.unwrap();
    let device = DeviceSpec {
        tenant: "default".into(),
        name: "desk".into(),
        kind: "desk phone".into(),
        instance: Some("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into()),
        lines: vec!["101".into()],
    };
    store.add(&by, Item::Device(device)).await.unwrap();
    let site = store.load_site().await.unwrap();
    assert_eq!(site.devices[0].lines, ["101".into()]);
    assert_eq!(site.lines[0].user.as_deref(), Some("anna"));

    store.remove(&by, &ItemKey::new(Kind::User, "default", "anna")).await.unwrap();
    assert_eq!(store.line("default", "101").await.unwrap().user, None);
    store.remove(&by, &ItemKey::new(Kind::Line, "default", "101")).await.unwrap();
    assert!(store.load_site().await.unwrap().devices[0].lines.is_empty());
}

#[tokio::test]
async fn tokens_are_told_once_verified_replaced_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let by = author();
    let first = store.first_token(&by, "local").await.unwrap().expect("a first start makes a token");
    assert_eq!(store.first_token(&by, "local").await.unwrap(), None);
    let bearer = store.verify_token(first.reveal()).expect("the token is good");
    assert_eq!((&*bearer.name, bearer.role, bearer.created), ("local", Role::Admin, NOW));
    for wrong in ["", "offhook_", &first.reveal()[1..], &"x".repeat(10_000)] {
        assert_eq!(store.verify_token(wrong), None);
    }
    assert!(matches!(store.create_token(&by, "local", Role::Admin).await, Err(TokenError::Exists(_))));
    assert!(matches!(store.create_token(&by, "a b", Role::Admin).await, Err(TokenError::Name)));
    let second = store.replace_token(&by, "local").await.unwrap();
    assert_eq!(store.verify_token(first.reveal()), None);
    drop(store);

    let store = Store::open(folder.path()).await.unwrap();
    assert!(store.verify_token(second.reveal()).is_some(), "tokens outlive a restart");
    store.revoke_token(&by, "local").await.unwrap();
    assert_eq!(store.verify_token(second.reveal()), None);
    assert!(matches!(store.revoke_token(&by, "local").await, Err(TokenError::Missing(_))));
    assert_eq!(store.tokens_listed(), []);
}

#[tokio::test]
async fn lines_are_listed_by_name_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for name in ["103", "101", "anna", "102"] {
        store.add_line(&author(), LineSpec::new("default", name)).await.unwrap();
    }
    let names = async |after: Option<&str>| {
        let lines = store.lines("default", after, 3).await.unwrap();
        lines.into_iter().map(|line| line.name).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, ["101".into(), "102".into(), "103".into()]);
    assert_eq!(names(Some("103")).await, ["anna".into()]);
    assert_eq!(store.lines("nowhere", None, 3).await.unwrap().len(), 0);
}
