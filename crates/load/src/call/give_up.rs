//! A call that is given up is ended as its state demands, so that the other side does not keep it.

use super::{
    shard::{Context, Core},
    state::Call,
};

impl Core {
    /// Ends a call that is stopped although nothing is wrong with what came. SIPp would leave the other side with it. Where
    /// the scenario invites nobody there is none.
    pub(super) fn hang_up(&mut self, context: Context<'_>, call: &mut Call) {
        if context.script.scenario.methods.iter().any(|method| method == "INVITE") {
            self.end_dialog(context, call);
        }
    }

    /// Sends what ends the call: ACK for an error, CANCEL while it rings, BYE once it is answered. Nothing for a call that
    /// came to us, and nothing while nobody has answered at all: as SIPp does.
    pub(super) fn end_dialog(&mut self, context: Context<'_>, call: &mut Call) {
        if call.is_incoming || !call.received_anything {
            return;
        }
        let standard = &context.plan.standard;
        let is_invite = call.sent.starts_with(b"INVITE");
        if call.established || !is_invite {
            return self.send_standard(context, call, &standard.bye);
        }
        match call.received_code {
            300.. => self.send_standard(context, call, &standard.ack),
            _ if call.ack_is_pending => {
                call.ack_is_pending = false;
                self.send_standard(context, call, &standard.ack);
                self.send_standard(context, call, &standard.bye);
            }
            _ => self.send_standard(context, call, &standard.cancel),
        }
    }
}
