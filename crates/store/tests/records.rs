//! Call records: durable before they are acknowledged, exactly once, kept while the disk is full, found again.

mod common;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use common::{NOW, access, record};
use offhook_base::{Random, UtcMillis};
use offhook_store::{RecordFilter, RecordWriter, Store};
use offhook_switch::record::{CallId, EndCause};

/// The environment variable that makes [`a_killed_process_has_every_record_it_acknowledged`] the child of itself.
const CHILD_FOLDER: &str = "OFFHOOK_STORE_TEST_CHILD";

/// Goal: nothing acknowledged is lost. Method: a child process offers records without end and prints the id of each one
/// acknowledged; it is killed in the middle (SIGKILL, no destructor runs), and all printed ids must be there, whole.
/// (A killed process proves the transaction; that the disk has it at power loss rests on `synchronous=FULL`.)
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_has_every_record_it_acknowledged() {
    if let Ok(folder) = std::env::var(CHILD_FOLDER) {
        return offer_without_end(&folder).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_has_every_record_it_acknowledged", "--nocapture"])
        .env(CHILD_FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness writes before the first id, on the same line.
    let ids = lines.map_while(Result::ok).filter_map(|line| line.rsplit(' ').next()?.parse::<CallId>().ok());
    let acknowledged: Vec<CallId> = ids.take(500).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(acknowledged.len(), 500);

    let store = Store::open(folder.path()).await.unwrap();
    for id in acknowledged {
        let found = store.record(&access(), id).await.unwrap().expect("an acknowledged record is there");
        assert_eq!((found.id, found.legs.len()), (id, 2));
    }
}

#[allow(clippy::print_stdout, reason = "the parent process reads it")]
async fn offer_without_end(folder: &str) {
    let store = Store::open(folder).await.unwrap();
    let writer = RecordWriter::start(&store, |group| {
        group.iter().for_each(|record| println!(" {}", record.id));
    });
    let mut random = Random::from_number(1);
    for start_ms in 0.. {
        writer.offer(record(&mut random, start_ms)).unwrap();
        if start_ms % 20 == 0 {
            writer.flush().await;
        }
    }
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_and_one_offered_twice_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&acknowledged);
    let writer = RecordWriter::start(&store, move |group| seen.lock().unwrap().extend_from_slice(group));
    let offered = record(&mut Random::from_number(1), 0);
    // From a thread without a runtime, as workers are.
    let (clone, again) = (writer.clone(), Arc::clone(&offered));
    std::thread::spawn(move || {
        clone.offer(Arc::clone(&again)).unwrap();
        clone.offer(again).unwrap();
    })
    .join()
    .unwrap();
    writer.flush().await;
    writer.offer(Arc::clone(&offered)).unwrap();
    writer.flush().await;

    assert_eq!(acknowledged.lock().unwrap().len(), 3);
    assert_eq!(store.record_count().await.unwrap(), 1);
    let page = store.records(&access(), &RecordFilter::default()).await.unwrap();
    assert_eq!(page.items, [(*offered).clone()]);
    assert_eq!(page.next, None);
}

/// Goal: a full disk costs no record and no call. Method: the file is capped so that SQLite itself says "disk is full";
/// records are offered, the alarm rises, the cap goes, and all of them arrive.
#[tokio::test]
async fn records_wait_out_a_full_disk_and_calls_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let writer = RecordWriter::start(&store, |_| ());
    store.limit_records(Some(2)).await.unwrap();
    let mut random = Random::from_number(1);
    for start_ms in 0..300 {
        writer.offer(record(&mut random, start_ms)).expect("a failing disk does not refuse records");
    }
    let mut progress = writer.progress();
    progress.wait_for(|status| status.failures >= 2).await.unwrap();
    assert!(writer.status().failure.is_some());
    assert_eq!(writer.status().durable, 0);
    for start_ms in 300..400 {
        writer.offer(record(&mut random, start_ms)).expect("a failing disk does not refuse records");
    }

    store.limit_records(None).await.unwrap();
    writer.flush().await;
    let status = writer.status();
    assert_eq!((status.durable, status.refused, status.queued, status.failure), (400, 0, 0, None));
    assert_eq!(store.record_count().await.unwrap(), 400);
}

#[tokio::test]
async fn filters_choose_and_pages_follow_each_other_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let mut random = Random::from_number(1);
    let mut records: Vec<_> = (0..250).map(|number| record(&mut random, number / 2 * 1000)).collect();
    {
        let odd = Arc::make_mut(&mut records[7]);
        odd.tenant = "other".into();
        odd.cause = EndCause::Busy;
        odd.answered = None;
        odd.legs[1].line = Some("200".into());
    }
    store.write_records(&records).await.unwrap();

    let mut seen = Vec::new();
    let mut filter = RecordFilter { limit: Some(100), ..RecordFilter::default() };
    loop {
        let page = store.records(&access(), &filter).await.unwrap();
        seen.extend(page.items);
        match page.next {
            Some(next) => filter.after = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    let mut expected: Vec<_> = records.iter().map(|record| (record.started, record.id)).collect();
    expected.sort_unstable();
    expected.reverse();
    assert_eq!(seen.iter().map(|record| (record.started, record.id)).collect::<Vec<_>>(), expected);

    let count = async |filter: RecordFilter| {
        let filter = RecordFilter { limit: Some(1000), ..filter };
        store.records(&access(), &filter).await.unwrap().items.len()
    };
    let default = RecordFilter::default;
    assert_eq!(count(RecordFilter { tenant: Some("other".into()), ..default() }).await, 1);
    assert_eq!(count(RecordFilter { line: Some("200".into()), ..default() }).await, 1);
    assert_eq!(
        count(RecordFilter { line: Some("102".into()), tenant: Some("default".into()), ..default() }).await,
        249
    );
    assert_eq!(count(RecordFilter { cause: Some(EndCause::Busy), ..default() }).await, 1);
    assert_eq!(count(RecordFilter { caller: Some("sip:101@example.org".into()), ..default() }).await, 250);
    assert_eq!(count(RecordFilter { callee: Some("sip:101@example.org".into()), ..default() }).await, 0);
    assert_eq!(count(RecordFilter { party: Some("102@".into()), ..default() }).await, 250);
    assert_eq!(count(RecordFilter { party: Some("%".into()), ..default() }).await, 0);
    let minute = Some(std::time::Duration::from_secs(60));
    assert_eq!(count(RecordFilter { talk_min: minute, ..default() }).await, 249);
    let (from, until) = (Some(UtcMillis(NOW.0 + 1000)), Some(UtcMillis(NOW.0 + 3000)));
    assert_eq!(count(RecordFilter { from, until, ..default() }).await, 4);
}

#[tokio::test]
async fn expired_records_are_gone_with_all_that_belongs_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let mut random = Random::from_number(1);
    let records: Vec<_> = (0..1_200).map(|number| record(&mut random, number)).collect();
    store.write_records(&records).await.unwrap();
    assert_eq!(store.expire_records(UtcMillis(NOW.0 + 1_100)).await.unwrap(), 1_100);
    assert_eq!(store.record_count().await.unwrap(), 100);
    let of_line = RecordFilter { line: Some("101".into()), limit: Some(1000), ..RecordFilter::default() };
    assert_eq!(store.records(&access(), &of_line).await.unwrap().items.len(), 100);
}

#[tokio::test]
async fn every_read_is_in_an_access_log_that_shows_tampering() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store
        .records(&access(), &RecordFilter { line: Some("101".into()), ..RecordFilter::default() })
        .await
        .unwrap();
    store.record(&access(), CallId::new(NOW, &mut Random::from_number(1))).await.unwrap();
    store.records(&access(), &RecordFilter::default()).await.unwrap();
    assert_eq!(store.verify_access_log().await.unwrap(), Ok(3));

    let file = format!("sqlite://{}", folder.path().join("records.db").display());
    let mut intruder = <sqlx::SqliteConnection as sqlx::Connection>::connect(&file).await.unwrap();
    sqlx::query("UPDATE access_log SET reason = 'none' WHERE id = 2").execute(&mut intruder).await.unwrap();
    assert_eq!(store.verify_access_log().await.unwrap().unwrap_err().entry, 2);
    sqlx::query("DELETE FROM access_log WHERE id = 2").execute(&mut intruder).await.unwrap();
    assert_eq!(store.verify_access_log().await.unwrap().unwrap_err().entry, 3);
}
