//! What the tests of calls share: phones that are registered and have empty ladders, and questions about the outcome.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use offhook_sim::{Habits, PhoneId, World, WorldConfig};
use offhook_switch::record::{CallRecord, EndCause, EndedBy};

/// More than any transaction lives.
pub const SETTLE_SECS: u64 = 120;

/// A world with these phones, registered: line and habits of each.
pub fn stage(phones: Vec<(&str, Habits)>) -> (World, Vec<PhoneId>) {
    let lines: Vec<&str> = phones.iter().map(|(line, _)| *line).collect();
    stage_with(WorldConfig::with_lines(1, &distinct(&lines)), phones)
}

/// The same in a world of one's own.
pub fn stage_with(config: WorldConfig, phones: Vec<(&str, Habits)>) -> (World, Vec<PhoneId>) {
    let mut world = World::new(config);
    let ids: Vec<PhoneId> = phones.into_iter().map(|(line, habits)| world.add_phone(line, habits)).collect();
    world.run_secs(1);
    for id in &ids {
        assert_eq!(world.phone(*id).is_registered(), world.phone(*id).habits.registers);
        world.act(*id, |phone, _| phone.clear_ladder());
    }
    (world, ids)
}

/// A caller of line 101 and a callee of line 102.
pub fn pair(caller: Habits, callee: Habits) -> (World, PhoneId, PhoneId) {
    let (world, ids) = stage(vec![("101", caller), ("102", callee)]);
    (world, ids[0], ids[1])
}

fn distinct<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut known = Vec::new();
    for line in lines {
        if !known.contains(line) {
            known.push(*line);
        }
    }
    known
}

/// The phone's ladder must be exactly this: words between bars, sent `>` and received `<`.
#[track_caller]
pub fn assert_ladder(world: &World, phone: PhoneId, expected: &str) {
    let expected: Vec<&str> = expected.split('|').map(str::trim).filter(|step| !step.is_empty()).collect();
    assert_eq!(world.phone(phone).ladder_text(), expected);
}

/// Everything has settled: nothing is open, no rule was broken. Lets the last transactions end first.
#[track_caller]
pub fn assert_settled(world: &mut World) {
    world.run_secs(SETTLE_SECS);
    assert_eq!(world.violations(), [""; 0]);
    assert_eq!(world.leftovers(), [""; 0]);
    for (id, phone) in world.phones() {
        assert!(phone.is_idle() || !phone.is_alive(), "phone {} is busy", id.0);
    }
}

/// The one record there is.
#[track_caller]
pub fn the_record(world: &World) -> Arc<CallRecord> {
    let records = &world.state().records;
    assert_eq!(records.len(), 1, "one call, one record");
    Arc::clone(&records[0])
}

/// How the only call ended.
#[track_caller]
pub fn assert_ended(world: &World, by: EndedBy, cause: EndCause, sip_status: u16, q850: u8) {
    let record = the_record(world);
    assert_eq!(
        (record.ended_by, record.cause, record.sip_status, record.q850),
        (by, cause, sip_status, q850)
    );
}

/// A header of the last message with this label, as the phone saw it.
pub fn header_of(world: &World, phone: PhoneId, step: &str, name: &str) -> Option<String> {
    let ladder = &world.phone(phone).ladder;
    ladder.iter().rev().find(|known| known.to_string() == step)?.header(name)
}

/// Pieces of sound heard in a phone's call.
pub fn heard(world: &World, phone: PhoneId, call: usize) -> u64 {
    world.phone(phone).calls[call].heard
}
