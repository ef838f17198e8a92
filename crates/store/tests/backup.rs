//! A backup of a directory in use, and the way back: whole or not at all.

mod common;
mod old_schema;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{NOW, author, record};
use offhook_base::Random;
use offhook_store::{
    CallsFile, Item, LineSpec, PeerSecret, PeerSpec, Store,
    backup::{BackupError, BackupOptions, Restorable, back_up},
};
use offhook_switch::{directory::Secret, record::CallId};
use old_schema::take_back_to_the_first;

fn options(passphrase: Option<&Secret>) -> BackupOptions<'_> {
    BackupOptions { configuration: None, passphrase, program: "offhook 0.1.0", now: NOW }
}

/// A store with a line, a record, and a peer with a password.
async fn site(folder: &Path) -> Store {
    let store = Store::open(folder).await.unwrap();
    store.add_line(&author(), LineSpec::new("default", "101")).await.unwrap();
    let mut peer = PeerSpec::new("default", "carrier");
    peer.host = Some("sip.example.net".into());
    peer.username = Some("us".into());
    peer.secret = PeerSecret::Clear(Secret::new("trunk password"));
    store.execute(&author(), &[offhook_store::Change::Add(Item::Peer(peer))], None).await.unwrap();
    store.write_records(&[record(&mut Random::from_number(1), 0)]).await.unwrap();
    store
}

async fn lines_and_secrets(folder: &Path) -> (usize, Vec<Option<String>>) {
    let site = Store::open(folder).await.unwrap().load_site().await.unwrap();
    let secrets = site.peers.iter().map(|peer| peer.secret.as_ref().map(|it| it.reveal().to_string()));
    (site.lines.len(), secrets.collect())
}

#[tokio::test]
async fn a_backup_of_a_running_node_is_restored_whole_and_what_was_there_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.tar"));
    let store = site(&data).await;
    let passphrase = Secret::new("correct horse battery");
    let manifest = back_up(&data, &file, options(Some(&passphrase))).await.unwrap();
    assert!(manifest.has_keys());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&file).unwrap();
    let key = fs::read(data.join("secret.key")).unwrap();
    assert!(!bytes.windows(key.len()).any(|window| window == key), "the key is not in it in clear");
    assert!(
        matches!(back_up(&data, &file, options(None)).await, Err(BackupError::File { .. })),
        "none is overwritten"
    );
    store.add_line(&author(), LineSpec::new("default", "102")).await.unwrap();

    let checked = Restorable::check(&file, &data, Some(&passphrase), false).await.unwrap();
    assert_eq!((checked.lines, checked.records, checked.lost_secrets), (1, 1, 0));
    assert!(matches!(checked.restore("x", None).await, Err(BackupError::Running { .. })));
    store.close().await;
    drop(store);
    let checked = Restorable::check(&file, &data, Some(&passphrase), false).await.unwrap();
    let restored = checked.restore("now", None).await.unwrap();
    assert!(restored.before.is_some_and(|before| before.join("site.db").exists()));
    assert_eq!(lines_and_secrets(&data).await, (1, vec![Some("trunk password".into())]));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing half-done is left: {left:?}");
}

#[tokio::test]
async fn without_the_keys_only_the_peers_secrets_are_missing_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let file = folder.path().join("backup.tar");
    drop(site(&data).await);
    assert!(!back_up(&data, &file, options(None)).await.unwrap().has_keys());
    let checked = Restorable::check(&file, &other, None, false).await.unwrap();
    assert_eq!(checked.lost_secrets, 1);
    assert_eq!(checked.restore("now", None).await.unwrap().before, None);
    assert_eq!(lines_and_secrets(&other).await, (1, vec![None]));
    // Where the key is, they are not.
    let checked = Restorable::check(&file, &data, None, false).await.unwrap();
    assert_eq!(checked.lost_secrets, 0);
    checked.restore("now", None).await.unwrap();
    assert_eq!(lines_and_secrets(&data).await, (1, vec![Some("trunk password".into())]));
}

#[tokio::test]
async fn a_damaged_cut_foreign_or_newer_backup_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.tar"));
    drop(site(&data).await);
    let passphrase = Secret::new("right");
    back_up(&data, &file, options(Some(&passphrase))).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let before = fs::read(data.join("site.db")).unwrap();
    let tried = async |bytes: &[u8], passphrase: Option<&Secret>| {
        let path = folder.path().join("tried.tar");
        fs::write(&path, bytes).unwrap();
        Restorable::check(&path, &data, passphrase, false).await.map(|_| ()).unwrap_err()
    };
    let unusable = |error: BackupError| matches!(error, BackupError::Unusable { .. });
    for cut in [0, 100, 512, 1000, 20_000, whole.len() / 2, whole.len() - 2000] {
        assert!(unusable(tried(&whole[..cut], Some(&passphrase)).await), "cut at {cut}");
    }
    for flipped in [10, 600, 5000, 60_000] {
        let mut bytes = whole.clone();
        bytes[flipped] ^= 1;
        let error = tried(&bytes, Some(&passphrase)).await;
        assert!(unusable(error), "octet {flipped}");
    }
    assert!(unusable(tried(b"certainly no archive", None).await));
    assert!(matches!(tried(&whole, None).await, BackupError::Sealed { .. }));
    assert!(matches!(tried(&whole, Some(&Secret::new("wrong"))).await, BackupError::Sealed { .. }));
    let text = String::from_utf8_lossy(&whole[..2048]).replacen("\"format\": 1", "\"format\": 9", 1);
    let mut newer = whole.clone();
    newer[..text.len()].copy_from_slice(text.as_bytes());
    assert!(matches!(tried(&newer, Some(&passphrase)).await, BackupError::Newer { .. }));
    assert_eq!(fs::read(data.join("site.db")).unwrap(), before);
}

/// Goal: a node on a backup does not go on with the calls of the node it replaces. Method: a kept call in the data directory, then
/// in a file elsewhere.
#[tokio::test]
async fn running_calls_of_the_replaced_node_are_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.tar"));
    let elsewhere = folder.path().join("kept-calls");
    drop(site(&data).await);
    back_up(&data, &file, options(None)).await.unwrap();
    for (label, calls) in [("one", None), ("two", Some(elsewhere.as_path()))] {
        let call = CallId::new(NOW, &mut Random::from_number(1));
        let store = Store::open(&data).await.unwrap();
        CallsFile::open(&store, calls).unwrap().0.keep(call, b"a form");
        assert_eq!(CallsFile::open(&store, calls).unwrap().1.forms.len(), 1);
        store.close().await;
        drop(store);
        let checked = Restorable::check(&file, &data, None, false).await.unwrap();
        checked.restore(label, calls).await.unwrap();
        let store = Store::open(&data).await.unwrap();
        let earlier = CallsFile::open(&store, calls).unwrap().1;
        assert_eq!((earlier.forms.len(), earlier.damaged), (0, 0));
        store.close().await;
    }
    assert!(data.join("before-restore-one/calls").exists());
    assert!(folder.path().join("kept-calls.before-restore-two").exists());
}

/// The way back of a migration: before a database is changed for a newer program, the old form is kept.
#[tokio::test]
async fn a_database_is_kept_as_it_was_before_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    drop(site(folder.path()).await);
    let kept = folder.path().join("site.db.schema-1");
    assert!(!kept.exists(), "a new one has nothing to keep");
    take_back_to_the_first(folder.path()).await;
    assert_eq!(lines_and_secrets(folder.path()).await.0, 1);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
}
