//! The parts of a call from their kept forms: legs, dialogs, sessions.

use bytes::Bytes;
use offhook_base::{DataSubject, Instant, Moment, Personal};
use offhook_sdp::{Crypto, OwnOrigin, SessionDescription};
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog, DialogState, Phase},
    header::{Refresher, SessionExpires},
    message::Message,
    reliable::{ReliableOrder, ReliableProvisionals},
    session_timer::{RequestOffer, SessionAgreement, SessionTimer},
    transport::{Destination, Flow, ListenerId, Transport},
};

use super::{
    CALLER, Leg, LegState, Way,
    keys::{Protection, Told},
    leg::{Branch, Facing},
    resume::{Implausible, instant, response},
    session::{LegSession, Said},
};
use crate::{
    exchange::{
        owners::{CallKey, LegIndex, LocalTag},
        services::Services,
    },
    kept::{
        KeptBranch, KeptDestination, KeptDialog, KeptFacing, KeptLeg, KeptLegAccount, KeptProtection,
        KeptQuality, KeptSession, KeptTimer, KeptTold,
    },
    media::StreamQuality,
    record::{LegRecord, LegRole},
    settings::{Settings, Transcoding},
};

/// CSeq numbers that are left out: more than a call sends while its form is on its way to be kept, and nothing beside the
/// 2^31 that there are (RFC 3261 §12.2.1.1 wants them to rise, not to be without gaps).
const CSEQ_GAP: u32 = 16;

/// A leg that goes on. Its transactions and ports are not there yet.
pub(super) fn leg(
    services: &mut Services,
    call: CallKey,
    kept: &KeptLeg<'_>,
    way: Option<Way>,
    now: Moment,
) -> Result<Leg, Implausible> {
    let destination = destination(&services.settings, &kept.destination).ok_or(Implausible)?;
    let tag = LocalTag::parse(kept.tag).ok_or(Implausible)?;
    let ends_here = matches!(kept.state, LegState::Ended | LegState::Cancelling | LegState::Leaving);
    let endpoint =
        (kept.session.has_endpoint && !ends_here).then(|| services.owners.new_endpoint(call, kept.index));
    let session = session(&kept.session, endpoint, services.settings.transcoding)?;
    let mut leg = Leg::new(kept.index, session, destination, tag);
    leg.state = kept.state;
    leg.dialog = kept.dialog.as_ref().map(dialog);
    leg.timer = kept.timer.as_ref().map(|kept| timer(services, kept, now));
    leg.invite_cseq = kept.invite_cseq;
    leg.allows_update = kept.allows_update;
    leg.holds = kept.holds;
    leg.acknowledged = kept.acknowledged;
    leg.hanging_up = kept.hanging_up;
    leg.farewell = kept.farewell.map(Box::from);
    if let Some(accepted) = &kept.accepted {
        let response = Bytes::copy_from_slice(accepted.response);
        leg.accepted_cseq = accepted.cseq;
        leg.accepted = Some(AcceptedResponse::new(response, &services.settings.timers, now.instant));
    }
    if let (Some(kept), Some(way)) = (&kept.branch, way) {
        leg.branch = Some(Box::new(branch(services, kept, way, now)?));
    }
    if (leg.branch.is_none()) != (leg.index == CALLER) {
        return Err(Implausible);
    }
    Ok(leg)
}

/// A leg that is over: only its number counts.
pub(super) fn ended_leg(services: &mut Services, index: LegIndex) -> Leg {
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let destination = Destination::Flow(Flow {
        listener: ListenerId(0),
        transport: Transport::Udp,
        local: nowhere,
        remote: nowhere,
        connection: None,
    });
    let session = LegSession::new(None, nowhere.ip(), crate::directory::Srtp::Auto);
    let mut leg = Leg::new(index, session, destination, LocalTag::new(&mut services.random));
    leg.state = LegState::Ended;
    leg
}

fn dialog(kept: &KeptDialog<'_>) -> Dialog {
    Dialog::from_state(DialogState {
        call_id: kept.call_id.into(),
        local_tag: kept.local_tag.into(),
        remote_tag: kept.remote_tag.into(),
        local_party: kept.local_party.into(),
        remote_party: kept.remote_party.into(),
        remote_target: kept.remote_target.into(),
        route_set: kept.route_set.iter().map(|&route| route.into()).collect(),
        local_cseq: kept.local_cseq.saturating_add(CSEQ_GAP) & 0x7fff_ffff,
        remote_cseq: kept.remote_cseq,
        secure: kept.is_secure,
        phase: if kept.is_confirmed { Phase::Confirmed } else { Phase::Early },
    })
}

/// A refresh that was sent while nobody answered is repeated for 64*T1: so long the session lasts at least.
fn timer(services: &Services, kept: &KeptTimer, now: Moment) -> SessionTimer {
    let agreement = SessionAgreement { interval_secs: kept.interval_secs, we_refresh: kept.we_refresh };
    let soonest: Instant = now.instant + services.settings.timers.patience();
    // A refresh of ours that was under way is not waited for: it is due again.
    let refresh_at = kept.refresh_at.map_or(now.instant, |at| instant(at, now));
    let expires_at = kept.expires_at.map(|at| instant(at, now).max(soonest));
    SessionTimer::resume(agreement, kept.we_refresh.then_some(refresh_at), expires_at)
}

fn session(
    kept: &KeptSession<'_>,
    endpoint: Option<crate::media::EndpointId>,
    transcoding: Transcoding,
) -> Result<LegSession, Implausible> {
    let description =
        |text: &[u8]| SessionDescription::parse(Bytes::copy_from_slice(text)).map_err(|_| Implausible);
    let session = LegSession::resume(
        endpoint,
        kept.address,
        (kept.srtp, kept.asked),
        kept.ports.clone(),
        Said {
            origin: kept.origin.as_ref().map(|origin| OwnOrigin {
                session_id: origin.session_id,
                version: origin.version,
                address: origin.address,
            }),
            theirs: kept.theirs.map(description).transpose()?,
            ours: kept.ours.as_ref().map(told).transpose()?,
            notes: kept.notes.clone(),
            extends: kept.extends,
            recodes: kept.recodes,
        },
    );
    Ok(session.transcoding(transcoding))
}

fn told(kept: &KeptTold<'_>) -> Result<Told, Implausible> {
    let protection: Result<_, _> = kept.protection.iter().map(protection).collect();
    Ok(Told { text: Bytes::copy_from_slice(kept.text), protection: protection? })
}

fn protection(kept: &KeptProtection) -> Result<Protection, Implausible> {
    match &kept.key {
        Some(key) => Crypto::parse(key).map(Protection::Ours).map_err(|_| Implausible),
        None if kept.is_plain => Ok(Protection::Plain),
        None => Ok(Protection::Passed),
    }
}

fn branch(services: &Services, kept: &KeptBranch<'_>, way: Way, now: Moment) -> Result<Branch, Implausible> {
    let offer = &kept.session_offer;
    let refresher = match (offer.by_client, offer.by_server) {
        (true, _) => Some(Refresher::Uac),
        (_, true) => Some(Refresher::Uas),
        (false, false) => None,
    };
    let session_offer = RequestOffer {
        session_expires: SessionExpires { seconds: offer.seconds, refresher },
        min_se_secs: offer.min_se_secs,
    };
    let mut branch = Branch::new(way, kept.call_id.into(), session_offer);
    branch.cseq = kept.cseq;
    branch.attempts = kept.attempts;
    branch.udp = kept.udp.as_ref().and_then(|udp| destination(&services.settings, udp));
    branch.keeps_udp = kept.keeps_udp;
    branch.order = ReliableOrder::after(kept.last_rseq);
    branch.facing = kept.facing.as_ref().map(|kept| facing(services, kept, now)).transpose()?;
    branch.answer_waits = kept.answer_waits.and_then(response);
    branch.early_answer = kept.early_answer;
    Ok(branch)
}

fn facing(services: &Services, kept: &KeptFacing<'_>, now: Moment) -> Result<Facing, Implausible> {
    let unacknowledged =
        kept.unacknowledged.iter().map(|kept| (kept.rseq, Bytes::copy_from_slice(kept.response)));
    Ok(Facing {
        dialog: dialog(&kept.dialog),
        tag: LocalTag::parse(kept.dialog.local_tag).ok_or(Implausible)?,
        reliable: ReliableProvisionals::resume(
            kept.invite_cseq,
            kept.next_rseq,
            unacknowledged,
            &services.settings.timers,
            now.instant,
        ),
        described: kept.described.as_ref().map(told).transpose()?,
    })
}

/// Where messages go, by a listener that is there now: the configuration may have changed with the restart. `None` if
/// nothing speaks that transport any more.
pub(super) fn destination(settings: &Settings, kept: &KeptDestination) -> Option<Destination> {
    let KeptDestination { transport, local, remote, .. } = *kept;
    let same = settings
        .listener(ListenerId(kept.listener))
        .filter(|listener| listener.transport == transport && listener.bound.is_ipv4() == remote.is_ipv4());
    let listener = same.or_else(|| settings.listener_for(transport, remote.ip()))?.id;
    Some(if kept.is_flow {
        // Of a stream the connection is gone: whatever is sent over it fails, until its phone has connected again.
        Destination::Flow(Flow { listener, transport, local, remote, connection: None })
    } else {
        Destination::Address { listener, transport, local, remote }
    })
}

/// The branch parameter of a request of ours.
pub(super) fn branch_of(request: &Bytes) -> Option<Box<str>> {
    let message = Message::parse(request.clone()).ok()?;
    message.headers().via().ok()?.branch().map(Box::from)
}

/// A leg as the record has it.
pub(super) fn leg_record(kept: &KeptLegAccount<'_>) -> LegRecord {
    let subject = match kept.role {
        LegRole::Caller => DataSubject::Caller,
        LegRole::Callee => DataSubject::Callee,
    };
    LegRecord {
        role: kept.role,
        line: kept.line.map(Box::from),
        peer: kept.peer.map(Box::from),
        remote: Personal::new(kept.remote.into(), subject),
        transport: kept.transport.into(),
        user_agent: kept.user_agent.map(Box::from),
        sip_call_id: Personal::new(kept.sip_call_id.into(), subject),
        started: kept.started,
        ringing: kept.ringing,
        answered: kept.answered,
        ended: kept.ended,
        status: kept.status,
        streams: kept.streams.iter().map(quality).collect(),
    }
}

fn quality(kept: &KeptQuality<'_>) -> StreamQuality {
    StreamQuality {
        codec: kept.codec.into(),
        transcoded_to: kept.transcoded_to.map(String::from),
        packets_received: kept.packets_received,
        octets_received: kept.octets_received,
        packets_sent: kept.packets_sent,
        packets_lost: kept.packets_lost,
        packets_duplicate: kept.packets_duplicate,
        packets_reordered: kept.packets_reordered,
        packets_refused: kept.packets_refused,
        jitter_ms: kept.jitter_ms,
        jitter_ms_max: kept.jitter_ms_max,
        round_trip_ms: kept.round_trip_ms,
        remote_loss: kept.remote_loss,
        mos: kept.mos,
    }
}
