//! Bindings outlive a restart; ended ones and those of lines that are gone do not.

mod common;

use std::sync::Arc;

use common::{NOW, author};
use offhook_base::UtcMillis;
use offhook_sip::transport::{ConnectionId, Flow, ListenerId, Transport};
use offhook_store::{BindingChange, BindingWriter, ItemKey, Kind, LineSpec, Store};
use offhook_switch::{
    directory::LineId,
    fact::{UnboundReason, What},
    registrar::{Parts, StoredBinding, Terms},
};

fn binding(line: LineId, contact: &str, expires_ms: i64) -> Arc<StoredBinding> {
    let flow = Flow {
        listener: ListenerId(1),
        transport: Transport::Tcp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "[2001:db8::7]:40000".parse().unwrap(),
        connection: Some(ConnectionId(77)),
    };
    let expires = UtcMillis(NOW.0 + expires_ms);
    let terms = Terms { line, flow, expires, registered: NOW, cseq: 2, reg_id: 0, q_millis: 700 };
    let parts = Parts {
        contact,
        params: ";q=0.7",
        call_id: "a84b4c76e66710",
        instance: "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>",
        user_agent: "Example Phone 1.0",
        path: "<sip:edge.example.org;lr>\n<sip:inner.example.org;lr>\n",
    };
    Arc::new(StoredBinding::new(terms, &parts).expect("it is short"))
}

async fn all_bindings(store: &Store, at_ms: i64) -> Vec<Arc<StoredBinding>> {
    let mut lists = store.read_bindings(UtcMillis(NOW.0 + at_ms));
    let mut all = Vec::new();
    while let Some(list) = lists.next().await {
        all.append(&mut list.unwrap());
    }
    all
}

#[tokio::test]
async fn bindings_come_back_after_a_restart_with_the_last_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for name in ["101", "102", "103"] {
        store.add_line(&author(), LineSpec::new("default", name)).await.unwrap();
    }
    let line = store.line_id("default", "101").await.unwrap();
    let removed = store.line_id("default", "102").await.unwrap();
    let late = store.line_id("default", "103").await.unwrap();
    let writer = BindingWriter::start(&store);
    writer.offer(&What::Bound(binding(line, "kept", 0)));
    for refresh in 1..=100 {
        writer.offer(&What::Refreshed(binding(line, "kept", refresh * 1000)));
    }
    writer.offer(&What::Bound(binding(line, "unbound", 60_000)));
    writer.offer(&What::Bound(binding(line, "ended", 10)));
    writer.offer(&What::Bound(binding(removed, "of a removed line", 60_000)));
    writer.flush().await;
    writer.offer(&What::Unbound { line, key: "unbound".into(), why: UnboundReason::Removed });
    writer.flush().await;
    for name in ["102", "103"] {
        store.remove(&author(), &ItemKey::new(Kind::Line, "default", name)).await.unwrap();
    }
    store.save_bindings(&[BindingChange::Bound(binding(late, "after its line", 60_000))]).await.unwrap();
    assert_eq!(writer.dropped(), 0);
    drop(writer);
    store.close().await;
    drop(store);

    let store = Store::open(folder.path()).await.unwrap();
    let kept = [binding(line, "kept", 100_000)];
    store.forget_bindings(UtcMillis(NOW.0 + 20)).await.unwrap();
    assert_eq!(all_bindings(&store, 0).await, kept);
    assert_eq!(all_bindings(&store, 99_999).await, kept);
    assert_eq!(all_bindings(&store, 100_000).await, []);
}

/// Goal: the readers that share the table leave nothing out and read nothing twice. Method: lines with gaps between their
/// numbers, with several bindings and with none, more than two stretches of them.
#[tokio::test]
async fn every_binding_is_read_once_whoever_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let lines = (1..4000).filter(|number| number % 7 != 0 && !(1500..2300).contains(number));
    let keys = |line: u64| (0..line % 3).map(move |key| (LineId(line), key.to_string()));
    let wanted: Vec<_> = lines.flat_map(keys).collect();
    let changes: Vec<_> =
        wanted.iter().map(|(line, key)| BindingChange::Bound(binding(*line, key, 60_000))).collect();
    store.save_bindings(&changes).await.unwrap();
    let mut found: Vec<_> = all_bindings(&store, 0)
        .await
        .into_iter()
        .map(|found| (found.line(), found.key().into_owned()))
        .collect();
    found.sort();
    assert_eq!(found, wanted);
}

/// Goal: a version before this one and this one read each other's rows. Method: the form that is on disks, as text.
#[test]
fn the_form_in_the_database_stays() {
    const FORM: &str = r#"{"line":7,"key":"<urn:uuid:x>;reg-id=2","contact":"sip:101@192.0.2.7","params":";audio","q_millis":500,"#;
    const REST: &str = r#""expires":5000,"call_id":"c","cseq":3,"path":["<sip:p;lr>"],"instance":"<urn:uuid:x>","reg_id":2,"transport":"udp","#;
    const END: &str = r#""listener":4,"local":"192.0.2.1:5060","remote":"192.0.2.7:5060","connection":null,"user_agent":null,"registered":1}"#;
    let form = [FORM, REST, END].concat();
    let read: StoredBinding = serde_json::from_str(&form).unwrap();
    assert_eq!(read.key(), "<urn:uuid:x>;reg-id=2");
    assert_eq!(serde_json::to_string(&read).unwrap(), form);
    assert!(!format!("{read:?}").contains("192.0.2"), "addresses of people stay hidden: {read:?}");
}
