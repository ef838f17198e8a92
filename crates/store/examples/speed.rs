//! Measures what the store promises: `cargo run --release -p offhook-store --example speed`.
//!
//! Loads 100,000 lines and bindings, and writes 3,000 records per second for some seconds; prints JSON lines.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{NOW, author, record};
use offhook_base::{Random, UtcMillis};
use offhook_sip::transport::{Flow, ListenerId, Transport};
use offhook_store::{BindingChange, Change, Item, LineSpec, RecordWriter, Store};
use offhook_switch::registrar::{Parts, StoredBinding, Terms};

const LINES: usize = 100_000;
const RECORDS_PER_SECOND: usize = 3_000;
const SECONDS: usize = 5;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).await.expect("a new data directory");
    fill(&store).await;
    store.close().await;
    drop(store);

    let store = Store::open(folder.path()).await.expect("the same directory");
    for _ in 0..3 {
        let (start, cpu) = (Instant::now(), cpu_time());
        let directory = store.load_directory().await.expect("the directory");
        report("load_directory_ms", millis(start.elapsed()));
        report("load_directory_cpu_ms", millis(cpu_time() - cpu));
        assert_eq!(directory.line_count(), LINES);
        let (start, cpu) = (Instant::now(), cpu_time());
        let (mut lists, mut bindings) = (store.read_bindings(UtcMillis(NOW.0)), 0);
        while let Some(list) = lists.next().await {
            bindings += list.expect("the bindings").len();
        }
        report("read_bindings_ms", millis(start.elapsed()));
        report("read_bindings_cpu_ms", millis(cpu_time() - cpu));
        assert_eq!(bindings, LINES);
    }
    write_records(&store).await;
}

async fn fill(store: &Store) {
    let changes: Vec<_> = (0..LINES)
        .map(|number| Change::Add(Item::Line(LineSpec::new("default", &format!("{number:06}")))))
        .collect();
    let start = Instant::now();
    store.execute(&author(), &changes, None).await.expect("the lines are added");
    report("add_line_us", micros(start.elapsed()) / LINES as f64);
    let lines = store.load_site().await.expect("the site").lines;
    let bindings: Vec<_> = lines
        .iter()
        .map(|line| {
            let contact = format!("sip:{}@192.0.2.7:5060;transport=udp", line.name);
            let flow = Flow {
                listener: ListenerId(0),
                transport: Transport::Udp,
                local: "192.0.2.1:5060".parse().expect("an address"),
                remote: "192.0.2.7:5060".parse().expect("an address"),
                connection: None,
            };
            let terms = Terms {
                line: line.id,
                flow,
                expires: UtcMillis(NOW.0 + 3_600_000),
                registered: NOW,
                cseq: 2,
                reg_id: 0,
                q_millis: 1000,
            };
            let parts = Parts {
                contact: &contact,
                params: ";expires=3600",
                call_id: "a84b4c76e66710@192.0.2.7",
                user_agent: "Example Phone 1.0",
                ..Parts::default()
            };
            BindingChange::Bound(Arc::new(StoredBinding::new(terms, &parts).expect("it is short")))
        })
        .collect();
    let (start, cpu) = (Instant::now(), cpu_time());
    for group in bindings.chunks(16_384) {
        store.save_bindings(group).await.expect("the bindings are saved");
    }
    report("save_binding_us", micros(start.elapsed()) / LINES as f64);
    report("save_binding_cpu_us", micros(cpu_time() - cpu) / LINES as f64);
}

async fn write_records(store: &Store) {
    let mut random = Random::from_number(1);
    let backlog: Vec<_> = (0..20_000).map(|number| record(&mut random, -number)).collect();
    for group in [2_000, 40] {
        let (now, rest) = backlog.split_at(10_000);
        let part = if group == 40 { now } else { rest };
        let (cpu, start) = (cpu_time(), Instant::now());
        for records in part.chunks(group) {
            store.write_records(records).await.expect("the records are written");
        }
        report(&format!("record_cpu_us_in_groups_of_{group}"), micros(cpu_time() - cpu) / 10_000.0);
        report(&format!("record_us_in_groups_of_{group}"), micros(start.elapsed()) / 10_000.0);
    }
    let records: Vec<_> =
        (0..RECORDS_PER_SECOND * SECONDS).map(|number| record(&mut random, number as i64)).collect();
    let offered = Arc::new(Mutex::new(HashMap::new()));
    let latencies = Arc::new(Mutex::new(Vec::with_capacity(records.len())));
    let (at, seen) = (Arc::clone(&offered), Arc::clone(&latencies));
    let writer = RecordWriter::start(store, move |group| {
        let (now, at) = (Instant::now(), at.lock().expect("no panic"));
        seen.lock().expect("no panic").extend(group.iter().map(|record| now - at[&record.id]));
    });
    let cpu = cpu_time();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    for group in records.chunks(RECORDS_PER_SECOND / 1000) {
        tick.tick().await;
        for record in group {
            offered.lock().expect("no panic").insert(record.id, Instant::now());
            writer.offer(Arc::clone(record)).expect("the queue has room");
        }
    }
    writer.flush().await;
    report("write_record_cpu_us", micros(cpu_time() - cpu) / records.len() as f64);
    let mut latencies = latencies.lock().expect("no panic").clone();
    latencies.sort_unstable();
    report("record_durable_p50_ms", millis(latencies[latencies.len() / 2]));
    report("record_durable_p99_ms", millis(latencies[latencies.len() * 99 / 100]));
    report("record_durable_max_ms", millis(latencies[latencies.len() - 1]));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Processor time of this process so far, user and system; Linux counts it in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[allow(clippy::print_stdout, reason = "the result of a measurement")]
fn report(metric: &str, ours: f64) {
    println!("{{\"bench\":\"store\",\"metric\":\"{metric}\",\"ours\":{ours:.2}}}");
}
