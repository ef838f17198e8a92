//! Running calls outlive the process: their forms go to the file of calls, and come back from it at the start.

use std::{path::Path, sync::Arc, time::Duration};

use offhook_base::{Moment, UtcMillis};
use offhook_net::Clock;
use offhook_store::{CallsFile, CallsFileCounters, EarlierCalls, Heartbeat, Store};
use offhook_switch::{
    exchange::{Exchange, Kept, Resumed},
    record::CallId,
};

/// How often the file says that the process is there. An outage is known as exactly.
const BEAT: Duration = Duration::from_secs(1);

/// The file of calls, or none: then calls go on as ever, and end with the process.
#[derive(Debug, Default)]
pub struct KeptCalls(Option<CallsFile>);

/// How keeping fares, for the metrics.
#[derive(Clone, Debug, Default)]
pub struct KeptStatus {
    /// What the file counts; all zero without one.
    pub file: Arc<CallsFileCounters>,
    /// What became of the calls of the process before this one.
    pub resumed: Resumed,
}

impl KeptCalls {
    /// Opens the file. What stands against it is said once: a node without it is better than none.
    pub fn open(store: &Store, path: Option<&Path>) -> (Self, EarlierCalls) {
        match CallsFile::open(store, path) {
            Ok((file, earlier)) => (Self(Some(file)), earlier),
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "running calls are not kept: a crash would end them");
                (Self(None), EarlierCalls::default())
            }
        }
    }

    /// Goes on with what an earlier process has left.
    pub fn resume(&mut self, exchange: &mut Exchange, earlier: &EarlierCalls, now: Moment) -> KeptStatus {
        let calls = earlier.forms.iter().map(|(call, form)| Kept { call: *call, form });
        let last_alive = earlier.last_alive.unwrap_or(now.utc);
        let resumed = exchange.resume(calls, last_alive, now);
        for &call in &resumed.unreadable {
            self.discard(call);
        }
        let Resumed { going_on, ended, unreadable } = &resumed;
        let unreadable = unreadable.len() + earlier.damaged;
        if going_on + ended + unreadable > 0 {
            let down_secs = now.utc.saturating_since(last_alive).as_secs();
            tracing::info!(going_on, ended, unreadable, down_secs, "resumed {going_on} calls");
        }
        let file = self.0.as_ref().map(CallsFile::counters).unwrap_or_default();
        KeptStatus { file, resumed }
    }

    /// Keeps the form of a call.
    pub fn keep(&mut self, call: CallId, form: &[u8]) {
        if let Some(file) = &mut self.0 {
            file.keep(call, form);
        }
    }

    /// No leg of a call is left.
    pub fn forget(&mut self, call: CallId) {
        if let Some(file) = &mut self.0 {
            file.forget(call);
        }
    }

    /// The records of calls are on disk.
    pub fn recorded(&mut self, calls: &[CallId]) {
        if let Some(file) = &mut self.0 {
            calls.iter().for_each(|&call| file.recorded(call));
        }
    }

    /// A task that says every second that the process is there.
    pub fn start_heartbeat(&self, clock: Clock) {
        if let Some(heartbeat) = self.0.as_ref().map(CallsFile::heartbeat) {
            tokio::spawn(beat(heartbeat, clock));
        }
    }

    fn discard(&mut self, call: CallId) {
        if let Some(file) = &mut self.0 {
            file.discard(call);
        }
    }
}

async fn beat(heartbeat: Heartbeat, clock: Clock) {
    let mut every = tokio::time::interval(BEAT);
    loop {
        every.tick().await;
        let now: UtcMillis = clock.utc();
        heartbeat.beat(now);
    }
}
