//! What tells whether the kept form of a call has changed: a print of all that is in it, far cheaper than the form.
//!
//! A print is taken after every input; so nobody who changes a call has to remember that it must be written down. Texts are
//! not read: each of them changes together with a number, a CSeq, a version or a count.

use offhook_base::Instant;
use offhook_sip::{
    dialog::{Dialog, Phase},
    transport::Destination,
};

use super::{Call, Leg, Stage, leg::Branch};

/// The print of a call. Two calls of different contents have the same one by a chance of 1 in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(u64);

impl Print {
    /// There is a form, and it is another process's: none of ours has this print.
    pub const OF_ANOTHER_PROCESS: Self = Self(0);

    /// Takes the print of a call.
    pub fn of(call: &Call) -> Self {
        let mut print = Self(0x9e37_79b9_7f4a_7c15);
        match call.stage {
            Stage::Preparing { .. } => print.add(1),
            Stage::Hunting { ring_until, .. } => print.add(2).at(Some(ring_until)),
            Stage::Established { callee, .. } => print.add(3).add(callee.into()),
            Stage::Over { .. } => print.add(4),
            Stage::Served { .. } => print.add(5),
        };
        print
            .flag(call.account.is_some())
            .flag(call.invite.is_some())
            .flag(call.request.is_some())
            .flag(call.modify.as_ref().and_then(super::modify::Modify::unanswered).is_some())
            .add(call.hunt.accepted() as u64)
            .add(call.hunt.groups().count() as u64)
            .add(call.legs.len() as u64);
        for leg in &call.legs {
            print.leg(leg);
        }
        print
    }

    fn leg(&mut self, leg: &Leg) {
        self.add(leg.state as u64)
            .destination(&leg.destination)
            .dialog(leg.dialog.as_ref())
            .at(leg.timer.as_ref().and_then(|timer| timer.expires_at()))
            .flag(leg.accepted.is_some())
            .add(leg.ack.as_ref().map_or(0, |ack| ack.cseq.into()))
            .flag(leg.allows_update)
            .flag(leg.holds)
            .flag(leg.acknowledged)
            .flag(leg.hanging_up)
            .add(leg.invite_cseq.into())
            .add(leg.session.revision().into());
        if let Some(branch) = &leg.branch {
            self.branch(branch);
        }
    }

    fn branch(&mut self, branch: &Branch) {
        self.flag(branch.invite.is_some())
            .flag(branch.answer_waits.is_some())
            .flag(branch.early_answer)
            .add(branch.cseq.into())
            .add(branch.order.last().map_or(0, u64::from));
        if let Some(facing) = &branch.facing {
            self.dialog(Some(&facing.dialog))
                .add(facing.reliable.next_rseq().into())
                .flag(facing.reliable.awaits_prack())
                .flag(facing.described.is_some());
        }
    }

    fn dialog(&mut self, dialog: Option<&Dialog>) -> &mut Self {
        let Some(state) = dialog.map(Dialog::state) else { return self.add(0) };
        // Another fork downstream has another tag and nothing else.
        let tag = state.remote_tag.bytes().take(8).fold(0, |tag, letter| tag << 8 | u64::from(letter));
        self.add(tag)
            .add(u64::from(state.local_cseq) << 32 | u64::from(state.remote_cseq.unwrap_or(0)))
            .flag(state.phase == Phase::Confirmed)
    }

    fn destination(&mut self, destination: &Destination) -> &mut Self {
        let connection = match destination {
            Destination::Flow(flow) => flow.connection.map_or(0, |connection| connection.0),
            Destination::Address { .. } => 0,
        };
        let remote = destination.remote();
        let address = match remote.ip() {
            std::net::IpAddr::V4(address) => u64::from(address.to_bits()),
            std::net::IpAddr::V6(address) => (address.to_bits() ^ (address.to_bits() >> 64)) as u64,
        };
        self.add(address).add(u64::from(remote.port()) | connection << 16)
    }

    fn at(&mut self, at: Option<Instant>) -> &mut Self {
        self.add(at.map_or(0, Instant::as_nanos))
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.add(u64::from(flag))
    }

    /// One step of a multiply-and-rotate hash: the values come from our own tables, nobody outside can aim at it.
    fn add(&mut self, value: u64) -> &mut Self {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
        self
    }
}
