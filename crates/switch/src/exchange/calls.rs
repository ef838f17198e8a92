//! The table of calls, and when each wants to be woken.

use offhook_base::{Instant, Moment};
use offhook_sip::transaction::TimerQueue;

use super::{owners::CallKey, services::Services};
use crate::call::Call;

/// All calls of an exchange. Slots are used again under a new generation, so a late key never finds another's call.
#[derive(Debug, Default)]
pub struct Calls {
    slots: Vec<Slot>,
    free: Vec<u32>,
    timers: TimerQueue<CallKey>,
    /// Calls whose kept form has to be looked at.
    touched: Vec<CallKey>,
    running: usize,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    call: Option<Box<Call>>,
}

impl Calls {
    /// A key for a call that is about to be made; [`Calls::insert`] must follow.
    pub fn reserve(&mut self) -> CallKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, call: None });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        CallKey { slot, generation: self.slots[slot as usize].generation }
    }

    /// Puts the call of a reserved key in its place.
    pub fn insert(&mut self, key: CallKey, call: Call) {
        self.slots[key.slot as usize].call = Some(Box::new(call));
        self.running += 1;
    }

    /// A reserved key is not needed after all.
    pub fn release(&mut self, key: CallKey) {
        self.free.push(key.slot);
    }

    /// The call, if it is still there.
    pub fn get_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation == key.generation { slot.call.as_deref_mut() } else { None }
    }

    /// Takes note of what a call looks like after an input: forgets it, or schedules its next look.
    pub fn settle(&mut self, key: CallKey, services: &mut Services) {
        let Some(call) = self.get_mut(key) else { return };
        if call.is_finished() {
            call.forget(services);
            self.remove(key);
            return;
        }
        let is_new = services.settings.keeps_calls && !std::mem::replace(&mut call.is_touched, true);
        let deadline = call.deadline();
        if is_new {
            self.touched.push(key);
        }
        let (Some(deadline), Some(call)) = (deadline, self.get_mut(key)) else { return };
        if call.wakes_at.is_none_or(|wakes_at| deadline < wakes_at) {
            call.wakes_at = Some(deadline);
            self.timers.schedule(deadline, key);
        }
    }

    /// Hands out the kept forms of the calls that have changed; false if no call was touched.
    pub fn keep_touched(&mut self, services: &mut Services, now: Moment) -> bool {
        let mut touched = std::mem::take(&mut self.touched);
        let any = !touched.is_empty();
        for key in touched.drain(..) {
            if let Some(call) = self.get_mut(key) {
                call.is_touched = false;
                call.keep_if_changed(services, now);
            }
        }
        // Its room is used again.
        self.touched = touched;
        any
    }

    /// Takes a call out whatever state it is in.
    pub fn evict(&mut self, key: CallKey) -> Option<Box<Call>> {
        self.get_mut(key)?;
        self.remove(key)
    }

    fn remove(&mut self, key: CallKey) -> Option<Box<Call>> {
        let slot = &mut self.slots[key.slot as usize];
        let call = slot.call.take();
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        self.running -= 1;
        call
    }

    /// The next call whose deadline has come.
    pub fn pop_due(&mut self, services: &mut Services, now: Instant) -> Option<CallKey> {
        while let Some((at, key)) = self.timers.pop_due(now) {
            let Some(call) = self.get_mut(key) else { continue };
            if call.wakes_at == Some(at) {
                call.wakes_at = None;
            }
            if call.deadline().is_some_and(|deadline| deadline <= now) {
                return Some(key);
            }
            self.settle(key, services);
        }
        None
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Calls in the table, those included that only wait for their last transactions.
    pub const fn len(&self) -> usize {
        self.running
    }

    /// All calls with their keys, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (CallKey, &Call)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let slot_number = u32::try_from(index).ok()?;
            let call = slot.call.as_deref()?;
            Some((CallKey { slot: slot_number, generation: slot.generation }, call))
        })
    }
}
