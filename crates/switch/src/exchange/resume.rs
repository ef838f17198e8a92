//! Calls of an earlier process are gone on with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use offhook_base::{Moment, UtcMillis};

use super::Exchange;
use crate::{call::Call, kept::KeptCall, record::CallId};

/// The kept form of a call, as it was handed out.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// Of which call.
    pub call: CallId,
    /// The form.
    pub form: &'a [u8],
}

/// What became of the calls of an earlier process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// They go on: answered or ringing.
    pub going_on: usize,
    /// They were over, or could not be gone on with, and end; each has its record.
    pub ended: usize,
    /// Their forms could not be read: of another version, or damaged. Nobody will forget them.
    pub unreadable: Vec<CallId>,
}

impl Exchange {
    /// Goes on with the calls of an earlier process, which was there last at `last_alive`. To be called before any input,
    /// and after [`Exchange::restore`]. If more time has passed than [`crate::settings::Settings::outage`], the calls end as
    /// of then.
    pub fn resume<'a>(
        &mut self,
        calls: impl IntoIterator<Item = Kept<'a>>,
        last_alive: UtcMillis,
        now: Moment,
    ) -> Resumed {
        self.now = now;
        let down = now.utc.saturating_since(last_alive);
        let too_late = (down > self.services.settings.outage).then_some(last_alive);
        let mut resumed = Resumed::default();
        for Kept { call, form } in calls {
            // A form that makes us panic must not keep the node from starting, again and again.
            let going_on = catch_unwind(AssertUnwindSafe(|| self.resume_call(form, too_late, now)));
            match going_on {
                Ok(Ok(true)) => resumed.going_on += 1,
                Ok(Ok(false)) => resumed.ended += 1,
                Ok(Err(why)) => {
                    tracing::error!(call_id = %call, why, "a call cannot be gone on with");
                    resumed.unreadable.push(call);
                }
                Err(_) => {
                    tracing::error!(call_id = %call, "call control panicked over a kept call; please report it");
                    self.recover(now);
                    resumed.unreadable.push(call);
                }
            }
        }
        self.pump(now);
        resumed
    }

    /// Goes on with one call; whether it is still on.
    fn resume_call(&mut self, form: &[u8], too_late: Option<UtcMillis>, now: Moment) -> Result<bool, String> {
        let form = KeptCall::decode(form).map_err(|error| error.to_string())?;
        let key = self.calls.reserve();
        let call = match Call::rebuild(&mut self.services, key, &form, now) {
            Ok(call) => call,
            Err(implausible) => {
                self.calls.release(key);
                return Err(implausible.to_string());
            }
        };
        self.calls.insert(key, call);
        self.with_call(key, |call, services| call.take_up(services, &form, too_late, now));
        Ok(self.calls.get_mut(key).is_some_and(|call| call.is_running()))
    }
}
