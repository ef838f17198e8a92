//! The file of running calls: what was kept is there for the next process, whenever this one was killed.
//!
//! A process that is killed leaves the file as it is: dropping [`CallsFile`], which writes nothing, is the same.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use offhook_base::{Random, UtcMillis};
use offhook_store::{CallsFile, EarlierCalls, Store};
use offhook_switch::record::CallId;
use proptest::prelude::*;
use tokio::runtime::Runtime;

struct Stage {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    /// A process: opens the data directory and the file.
    fn open(&self) -> (CallsFile, EarlierCalls) {
        let store = self.runtime.block_on(Store::open(self.folder.path())).unwrap();
        CallsFile::open(&store, None).unwrap()
    }
}

fn call(number: u64) -> CallId {
    CallId::new(UtcMillis(1_795_363_836_000), &mut Random::from_number(number))
}

fn form(text: &str, length: usize) -> Vec<u8> {
    text.bytes().cycle().take(length).collect()
}

#[test]
fn the_newest_form_of_each_call_is_there_for_the_next_process() {
    let stage = Stage::new();
    let (mut file, earlier) = stage.open();
    assert!(earlier.forms.is_empty() && earlier.last_alive.is_none());
    file.keep(call(1), &form("ringing", 2000));
    file.keep(call(2), &form("other", 60_000));
    file.keep(call(1), &form("answered", 900));
    file.heartbeat().beat(UtcMillis(1_795_363_999_123));
    drop(file);
    let (file, earlier) = stage.open();
    let found: BTreeMap<_, _> = earlier.forms.into_iter().collect();
    let expected = BTreeMap::from([(call(1), form("answered", 900)), (call(2), form("other", 60_000))]);
    assert!(found == expected, "{:?}", found.keys());
    assert_eq!((earlier.last_alive, earlier.damaged), (Some(UtcMillis(1_795_363_999_123)), 0));
    assert_eq!(file.counters().kept.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn a_form_is_dropped_when_its_call_is_over_and_recorded_in_whatever_order() {
    let stage = Stage::new();
    let (mut file, _) = stage.open();
    for number in 1..=4 {
        file.keep(call(number), &form("over", 1500));
    }
    file.forget(call(1));
    file.recorded(call(1));
    file.recorded(call(2));
    // The last words of a call may come after its record.
    file.keep(call(2), &form("last", 1200));
    file.forget(call(2));
    file.forget(call(3));
    file.recorded(call(4));
    drop(file);
    let (_, earlier) = stage.open();
    assert_eq!(earlier.forms.iter().map(|(call, _)| *call).collect::<Vec<_>>(), sorted([call(3), call(4)]));
}

fn sorted<const N: usize>(mut calls: [CallId; N]) -> Vec<CallId> {
    calls.sort_unstable();
    calls.to_vec()
}

#[test]
fn nothing_in_the_file_can_be_read_and_it_is_closed_to_others() {
    let stage = Stage::new();
    let (mut file, _) = stage.open();
    file.keep(call(1), b"sip:anna@example.org calls sip:bert@example.org");
    let octets = fs::read(stage.path()).unwrap();
    assert!(!octets.windows(4).any(|window| window == b"anna" || window == b"sip:"));
    assert_eq!(fs::metadata(stage.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_form_costs_one_call_and_a_file_of_something_else_is_made_anew() {
    let stage = Stage::new();
    let (mut file, _) = stage.open();
    file.keep(call(1), &form("one", 1500));
    file.keep(call(2), &form("two", 1500));
    drop(file);
    let mut octets = fs::read(stage.path()).unwrap();
    let place = octets.windows(26).position(|window| window == call(1).as_str().as_bytes()).unwrap();
    octets[place + 500] ^= 1;
    fs::write(stage.path(), &octets).unwrap();
    let (file, earlier) = stage.open();
    assert_eq!(earlier.damaged, 1);
    assert_eq!(earlier.forms, [(call(2), form("two", 1500))]);
    drop(file);
    fs::write(stage.path(), b"a shopping list").unwrap();
    let (mut file, earlier) = stage.open();
    assert!(earlier.forms.is_empty() && earlier.last_alive.is_none());
    file.keep(call(3), &form("three", 100));
    drop(file);
    assert_eq!(stage.open().1.forms.len(), 1);
}

#[test]
fn the_place_of_calls_that_are_over_is_used_again() {
    let stage = Stage::new();
    let (mut file, _) = stage.open();
    for number in 0..50_000 {
        file.keep(call(number), &form("ringing", 2500));
        file.keep(call(number), &form("answered", 1400));
        file.forget(call(number));
        file.recorded(call(number));
    }
    assert!(fs::metadata(stage.path()).unwrap().len() < 4 << 20, "two calls' worth of chunks");
    drop(file);
    assert!(stage.open().1.forms.is_empty());
}

/// What may happen to calls.
#[derive(Clone, Debug)]
enum Act {
    Keep(u64, usize),
    Forget(u64),
    Recorded(u64),
    Killed,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..6_u64, 0..5000_usize).prop_map(|(call, length)| Act::Keep(call, length)),
        2 => (0..6_u64).prop_map(Act::Forget),
        2 => (0..6_u64).prop_map(Act::Recorded),
        1 => Just(Act::Killed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Goal: whatever happens in whatever order, each process finds what the one before it had. Method: a model of two
    /// maps.
    #[test]
    fn every_process_finds_what_the_one_before_it_had(acts in prop::collection::vec(act(), 1..40)) {
        let stage = Stage::new();
        let (mut file, _) = stage.open();
        // The form, and whether the call is over and recorded, as this process knows.
        let mut model: BTreeMap<u64, (Vec<u8>, bool, bool)> = BTreeMap::new();
        for (turn, act) in acts.into_iter().enumerate() {
            match act {
                Act::Keep(number, length) => {
                    let form = form(&format!("{turn} "), length);
                    file.keep(call(number), &form);
                    let known = model.entry(number).or_default();
                    (known.0, known.1) = (form, false);
                }
                Act::Forget(number) => {
                    file.forget(call(number));
                    if let Some(known) = model.get_mut(&number) {
                        known.1 = true;
                    }
                }
                Act::Recorded(number) => {
                    file.recorded(call(number));
                    if let Some(known) = model.get_mut(&number) {
                        known.2 = true;
                    }
                }
                Act::Killed => {
                    drop(file);
                    let (again, earlier) = stage.open();
                    file = again;
                    let found: BTreeMap<_, _> = earlier.forms.into_iter().collect();
                    let expected: BTreeMap<_, _> =
                        model.iter().map(|(number, (form, ..))| (call(*number), form.clone())).collect();
                    prop_assert!(found == expected);
                    for known in model.values_mut() {
                        (known.1, known.2) = (false, false);
                    }
                }
            }
            model.retain(|_, (_, is_over, is_recorded)| !(*is_over && *is_recorded));
        }
    }
}
