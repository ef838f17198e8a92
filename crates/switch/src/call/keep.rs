//! The call as another process needs it: its kept form, and whether that has changed.

use offhook_base::{Instant, Moment, Purpose, UtcMillis};
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog, Phase},
    header::Refresher,
    message::Method,
    session_timer::SessionTimer,
    transaction::TransactionLayer,
    transport::Destination,
};

use super::{
    Call, Leg, LegState, Stage, Way, WayEnd,
    keys::{Protection, Told},
    leg::{Branch, Facing},
    print::Print,
    session::LegSession,
};
use crate::{
    exchange::services::Services,
    kept::{
        KeptAccepted, KeptAccount, KeptAck, KeptBranch, KeptCall, KeptDestination, KeptDialog, KeptEnd,
        KeptFacing, KeptInvite, KeptLeg, KeptLegAccount, KeptOrigin, KeptParty, KeptProtection, KeptQuality,
        KeptReinvite, KeptReliable, KeptSession, KeptSessionOffer, KeptStage, KeptTimer, KeptTold, KeptWay,
    },
    media::StreamQuality,
    record::{CallRecord, LegRecord},
    route::Caller,
};

impl Call {
    /// Hands out the kept form, if it has changed since the last time.
    pub fn keep_if_changed(&mut self, services: &mut Services, now: Moment) {
        let print = Print::of(self);
        if self.kept != Some(print) {
            self.keep_as(services, print, now);
        }
    }

    /// Hands out the kept form.
    pub(super) fn keep(&mut self, services: &mut Services, now: Moment) {
        if services.settings.keeps_calls {
            self.keep_as(services, Print::of(self), now);
        }
    }

    fn keep_as(&mut self, services: &mut Services, print: Print, now: Moment) {
        self.kept = Some(print);
        let mut text = std::mem::take(&mut services.form);
        text.clear();
        if let Some(form) = self.form(&services.layer, now) {
            form.encode(&mut text);
            services.keep(self.id, &text);
        }
        services.form = text;
    }

    /// The kept form. `None` only for a call that was given up after a bug of ours.
    fn form<'a>(&'a self, layer: &'a TransactionLayer, now: Moment) -> Option<KeptCall<'a>> {
        let (stage, until, ring_until, callee) = match self.stage {
            Stage::Preparing { give_up_at } => (KeptStage::Preparing, give_up_at, None, None),
            Stage::Hunting { ring_until, give_up_at } => {
                (KeptStage::Hunting, give_up_at, Some(utc(ring_until, now)), None)
            }
            Stage::Established { callee, end_at } => (KeptStage::Established, end_at, None, Some(callee)),
            Stage::Served { end_at } => (KeptStage::Served, end_at, None, None),
            Stage::Over { forget_at } => (KeptStage::Over, forget_at, None, None),
        };
        Some(KeptCall {
            id: self.id,
            stage,
            until: utc(until, now),
            ring_until,
            callee,
            anchored: self.anchored,
            late: self.offer.is_none(),
            caller: party_of_caller(&self.who),
            hidden: self.identity.is_hidden(),
            callee_user: &self.callee_user,
            peers: self.peers.iter().map(|peer| peer.0).collect(),
            invite: self.kept_invite(layer),
            reinvite: self.kept_reinvite(),
            groups: self.hunt.groups().map(|group| group.iter().map(way).collect()).collect(),
            ways: u16::try_from(self.hunt.accepted()).unwrap_or(u16::MAX),
            refusal: self.hunt.best().map(|status| status.as_u16()),
            account: self.kept_account()?,
            legs: self
                .legs
                .iter()
                .filter(|leg| leg.state != LegState::Ended || leg.hanging_up)
                .map(|leg| kept_leg(leg, layer, now))
                .collect(),
        })
    }

    fn kept_invite<'a>(&'a self, layer: &'a TransactionLayer) -> Option<KeptInvite<'a>> {
        let request = self.request.as_ref().filter(|_| self.is_running())?;
        Some(KeptInvite {
            request: request.bytes(),
            is_pending: self.invite.is_some(),
            provisional: self
                .invite
                .as_ref()
                .and_then(|invite| layer.last_provisional(invite.key))
                .map(|bytes| &**bytes),
        })
    }

    fn kept_reinvite(&self) -> Option<KeptReinvite<'_>> {
        let (leg, request) = self.modify.as_ref()?.unanswered()?;
        (*request.method() == Method::Invite).then(|| KeptReinvite { leg, request: request.bytes() })
    }

    fn kept_account(&self) -> Option<KeptAccount<'_>> {
        if let Some(record) = &self.record {
            let end = KeptEnd {
                at: record.ended,
                by: record.ended_by,
                cause: record.cause,
                status: record.sip_status,
            };
            return Some(account_of(record, Some(end), true));
        }
        let account = self.account.as_ref()?;
        let record = account.so_far();
        let end = account.verdict().map(|verdict| KeptEnd {
            at: record.ended,
            by: verdict.by,
            cause: verdict.cause,
            status: verdict.status.as_u16(),
        });
        Some(account_of(record, end, false))
    }
}

fn account_of(record: &CallRecord, end: Option<KeptEnd>, is_closed: bool) -> KeptAccount<'_> {
    KeptAccount {
        tenant: &record.tenant,
        caller: record.caller.disclose(Purpose::Record),
        caller_name: record.caller_name.as_ref().map(|name| name.disclose(Purpose::Record).as_str()),
        callee: record.callee.disclose(Purpose::Record),
        started: record.started,
        ringing: record.ringing,
        answered: record.answered,
        end,
        is_closed,
        legs: record.legs.iter().map(leg_account).collect(),
    }
}

fn leg_account(leg: &LegRecord) -> KeptLegAccount<'_> {
    KeptLegAccount {
        role: leg.role,
        line: leg.line.as_deref(),
        peer: leg.peer.as_deref(),
        remote: leg.remote.disclose(Purpose::Record),
        transport: &leg.transport,
        user_agent: leg.user_agent.as_deref(),
        sip_call_id: leg.sip_call_id.disclose(Purpose::Record),
        started: leg.started,
        ringing: leg.ringing,
        answered: leg.answered,
        ended: leg.ended,
        status: leg.status,
        streams: leg.streams.iter().map(quality).collect(),
    }
}

fn quality(stream: &StreamQuality) -> KeptQuality<'_> {
    KeptQuality {
        codec: &stream.codec,
        transcoded_to: stream.transcoded_to.as_deref(),
        packets_received: stream.packets_received,
        octets_received: stream.octets_received,
        packets_sent: stream.packets_sent,
        packets_lost: stream.packets_lost,
        packets_duplicate: stream.packets_duplicate,
        packets_reordered: stream.packets_reordered,
        packets_refused: stream.packets_refused,
        jitter_ms: stream.jitter_ms,
        jitter_ms_max: stream.jitter_ms_max,
        round_trip_ms: stream.round_trip_ms,
        remote_loss: stream.remote_loss,
        mos: stream.mos,
    }
}

fn kept_leg<'a>(leg: &'a Leg, layer: &'a TransactionLayer, now: Moment) -> KeptLeg<'a> {
    let accepted = leg.accepted.as_ref().and_then(AcceptedResponse::response);
    KeptLeg {
        index: leg.index,
        state: leg.state,
        destination: destination(&leg.destination),
        tag: leg.tag.as_str(),
        dialog: leg.dialog.as_ref().map(dialog),
        timer: leg.timer.as_ref().map(|timer| kept_timer(timer, now)),
        invite_cseq: leg.invite_cseq,
        ack: leg.ack.as_ref().map(|ack| KeptAck { cseq: ack.cseq, answers: ack.answers }),
        accepted: accepted.map(|response| KeptAccepted { cseq: leg.accepted_cseq, response }),
        allows_update: leg.allows_update,
        holds: leg.holds,
        acknowledged: leg.acknowledged,
        hanging_up: leg.hanging_up,
        farewell: leg.farewell.as_deref(),
        session: kept_session(&leg.session),
        branch: leg.branch.as_ref().map(|branch| kept_branch(branch, layer)),
    }
}

fn dialog(dialog: &Dialog) -> KeptDialog<'_> {
    let state = dialog.state();
    KeptDialog {
        call_id: &state.call_id,
        local_tag: &state.local_tag,
        remote_tag: &state.remote_tag,
        local_party: &state.local_party,
        remote_party: &state.remote_party,
        remote_target: &state.remote_target,
        route_set: state.route_set.iter().map(|route| &**route).collect(),
        local_cseq: state.local_cseq,
        remote_cseq: state.remote_cseq,
        is_secure: state.secure,
        is_confirmed: state.phase == Phase::Confirmed,
    }
}

fn kept_timer(timer: &SessionTimer, now: Moment) -> KeptTimer {
    let agreement = timer.agreement();
    KeptTimer {
        interval_secs: agreement.interval_secs,
        we_refresh: agreement.we_refresh,
        refresh_at: timer.refresh_at().map(|at| utc(at, now)),
        expires_at: timer.expires_at().map(|at| utc(at, now)),
    }
}

fn kept_session(session: &LegSession) -> KeptSession<'_> {
    let (srtp, asked) = session.protection_wanted();
    let (extends, recodes) = session.transcodes();
    KeptSession {
        has_endpoint: session.endpoint().is_some(),
        address: session.address(),
        ports: session.ports().to_vec(),
        origin: session.origin().map(|origin| KeptOrigin {
            session_id: origin.session_id,
            version: origin.version,
            address: origin.address,
        }),
        theirs: session.theirs().map(|theirs| &**theirs.bytes()),
        ours: session.told().map(told),
        srtp,
        asked,
        notes: session.notes().to_vec(),
        extends,
        recodes,
    }
}

fn told(told: &Told) -> KeptTold<'_> {
    KeptTold { text: &told.text, protection: told.protection.iter().map(protection).collect() }
}

fn protection(protection: &Protection) -> KeptProtection {
    let key = match protection {
        Protection::Ours(crypto) => {
            let mut text = String::new();
            // A text takes all that is written to it.
            let _ = crypto.write_value(&mut text);
            Some(text)
        }
        Protection::Passed | Protection::Plain => None,
    };
    KeptProtection { is_plain: *protection == Protection::Plain, key }
}

fn kept_branch<'a>(branch: &'a Branch, layer: &'a TransactionLayer) -> KeptBranch<'a> {
    let pending = branch.invite.and_then(|invite| layer.pending_invite(invite));
    let offer = &branch.session_offer;
    KeptBranch {
        way: way(&branch.way),
        invite: pending.map(|(invite, _)| &**invite),
        has_progressed: pending.is_some_and(|(_, has_progressed)| has_progressed),
        cseq: branch.cseq,
        attempts: branch.attempts,
        call_id: &branch.call_id,
        udp: branch.udp.as_ref().map(destination),
        keeps_udp: branch.keeps_udp,
        session_offer: KeptSessionOffer {
            seconds: offer.session_expires.seconds,
            by_client: offer.session_expires.refresher == Some(Refresher::Uac),
            by_server: offer.session_expires.refresher == Some(Refresher::Uas),
            min_se_secs: offer.min_se_secs,
        },
        last_rseq: branch.order.last(),
        facing: branch.facing.as_ref().map(facing),
        answer_waits: branch.answer_waits.as_ref().map(|response| &**response.bytes()),
        early_answer: branch.early_answer,
    }
}

fn facing(facing: &Facing) -> KeptFacing<'_> {
    KeptFacing {
        dialog: dialog(&facing.dialog),
        invite_cseq: facing.reliable.cseq(),
        next_rseq: facing.reliable.next_rseq(),
        unacknowledged: facing
            .reliable
            .unacknowledged()
            .map(|(rseq, response)| KeptReliable { rseq, response })
            .collect(),
        described: facing.described.as_ref().map(told),
    }
}

fn way(way: &Way) -> KeptWay<'_> {
    KeptWay {
        request_uri: &way.request_uri,
        destination: destination(&way.destination),
        route: way.route.iter().map(|route| &**route).collect(),
        end: match &way.end {
            WayEnd::Line(line) => KeptParty { is_peer: false, number: line.id.0 },
            WayEnd::Peer(peer) => KeptParty { is_peer: true, number: peer.id.0 },
        },
    }
}

fn party_of_caller(caller: &Caller) -> KeptParty {
    match caller {
        Caller::Line(line) => KeptParty { is_peer: false, number: line.id.0 },
        Caller::Peer(peer) => KeptParty { is_peer: true, number: peer.id.0 },
    }
}

const fn destination(destination: &Destination) -> KeptDestination {
    KeptDestination {
        listener: destination.listener().0,
        transport: destination.transport(),
        local: destination.local(),
        remote: destination.remote(),
        is_flow: matches!(destination, Destination::Flow(_)),
    }
}

/// A deadline as a date. The process that reads it has another clock.
fn utc(at: Instant, now: Moment) -> UtcMillis {
    let ahead = i64::try_from((at - now.instant).as_millis()).unwrap_or(i64::MAX);
    let behind = i64::try_from((now.instant - at).as_millis()).unwrap_or(i64::MAX);
    UtcMillis(now.utc.0.saturating_add(ahead).saturating_sub(behind))
}
