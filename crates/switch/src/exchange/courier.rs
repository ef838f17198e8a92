//! MESSAGE outside of calls (RFC 3428): delivered to every device of a line; the first that takes it answers.
//!
//! A back-to-back user agent here too: the devices see the node and the proven identity of the sender. Nothing is
//! stored: a line without devices gets no message, and the sender is told so (480).

use std::sync::Arc;

use offhook_base::Moment;
use offhook_sip::{
    header::HeaderName,
    message::{Method, Request, Response, StatusCode},
    transaction::{ClientKey, ServerKey},
    write::{HeaderValue, MessageWriter},
};
use rustc_hash::FxHashMap;

use super::services::Services;
use crate::{border::Border, crossing::Party, directory::Line, identity::Identity, route::Caller};

/// Messages on their way at once. Each holds its text; more are refused with 503.
const LETTERS_MAX: usize = 4096;

/// Devices that one message goes to.
const COPIES_MAX: usize = 16;

/// A message to be delivered.
pub struct Letter {
    /// The sender's transaction.
    pub key: ServerKey,
    /// The message.
    pub request: Request,
    /// Who sends it.
    pub identity: Identity,
    /// The address it is for, as it is written into To.
    pub to: Box<str>,
}

/// A message whose copies are on their way.
#[derive(Debug)]
struct OnTheWay {
    key: ServerKey,
    request: Request,
    sender: Party,
    copies: usize,
    best: Option<StatusCode>,
}

/// All messages on their way.
#[derive(Debug, Default)]
pub struct Couriers {
    letters: FxHashMap<u64, OnTheWay>,
    copies: FxHashMap<ClientKey, u64>,
    last: u64,
}

impl Couriers {
    /// Sends copies of `letter` to the devices of `line`.
    pub fn deliver(
        &mut self,
        services: &mut Services,
        letter: Letter,
        who: &Caller,
        line: &Arc<Line>,
        now: Moment,
    ) {
        let Letter { key, request, identity, to } = letter;
        if self.letters.len() >= LETTERS_MAX {
            return answer(services, key, &request, StatusCode::SERVICE_UNAVAILABLE, now);
        }
        self.last += 1;
        let number = self.last;
        let mut copies = 0;
        let sender = if who.peer().is_some() { Party::Peer } else { Party::Line };
        let targets =
            services.registrar.contacts(line.id, now.instant).into_iter().flatten().take(COPIES_MAX);
        for target in targets.collect::<Vec<_>>() {
            let Some(destination) = target.destination else { continue };
            let branch = services.layer.new_branch();
            let via = services.via(&destination, branch);
            let (tag, call_id) = (services.random.token::<12>(), services.random.token::<24>());
            let headers = request.headers();
            let mut writer =
                MessageWriter::request(&mut services.buffer, &Method::Message, &target.request_uri);
            writer.header(&HeaderName::Via, via);
            writer.header(&HeaderName::MaxForwards, headers.max_forwards().unwrap_or(70).saturating_sub(1));
            for route in &target.path {
                writer.header(&HeaderName::Route, route);
            }
            writer.header_with(&HeaderName::From, |line| {
                identity.shown().write(line);
                line.text(";tag=").text(tag.as_str());
            });
            writer.header(&HeaderName::To, format_args!("<{to}>"));
            writer.header(&HeaderName::CallId, call_id);
            writer.header(&HeaderName::CSeq, "1 MESSAGE");
            Border::of_line(sender, Party::Line).copy(headers, &mut writer);
            if let Some(content_type) = headers.first(&HeaderName::ContentType) {
                writer.body(content_type, request.body());
            }
            let bytes = writer.finish();
            let sent = services.layer.send_request(
                &Method::Message,
                branch.as_str(),
                bytes,
                destination,
                now.instant,
            );
            if let Ok(client) = sent {
                self.copies.insert(client, number);
                copies += 1;
            }
        }
        if copies == 0 {
            return answer(services, key, &request, StatusCode::TEMPORARILY_UNAVAILABLE, now);
        }
        tracing::debug!(tenant = who.tenant(), copies, "message on its way");
        self.letters.insert(number, OnTheWay { key, request, sender, copies, best: None });
    }

    /// A device answered, or `status` stands for its silence. False: the transaction is none of ours.
    pub fn answered(
        &mut self,
        services: &mut Services,
        client: ClientKey,
        status: StatusCode,
        response: Option<&Response>,
        now: Moment,
    ) -> bool {
        let Some(&number) = self.copies.get(&client) else { return false };
        if status.is_provisional() {
            return true;
        }
        self.copies.remove(&client);
        let Some(letter) = self.letters.get_mut(&number) else { return true };
        letter.copies -= 1;
        if status.is_success() {
            let OnTheWay { key, request, sender, .. } = letter;
            let mut writer = request.respond(&mut services.buffer, status, None);
            if let Some(response) = response {
                Border::of_line(Party::Line, *sender).copy(response.headers(), &mut writer);
            }
            let (key, bytes) = (*key, writer.finish());
            services.respond(key, bytes, now);
            self.letters.remove(&number);
            return true;
        }
        let best =
            letter.best.map_or(status, |best| if status.as_u16() < best.as_u16() { status } else { best });
        letter.best = Some(best);
        if letter.copies == 0
            && let Some(OnTheWay { key, request, .. }) = self.letters.remove(&number)
        {
            answer(services, key, &request, best, now);
        }
        true
    }

    /// Messages on their way now.
    pub fn len(&self) -> usize {
        self.letters.len()
    }
}

fn answer(services: &mut Services, key: ServerKey, request: &Request, status: StatusCode, now: Moment) {
    let tag = services.random.token::<12>();
    let mut writer = request.respond(&mut services.buffer, status, Some(tag.as_str()));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        writer.header(&HeaderName::RetryAfter, 5_u8);
    }
    let bytes = writer.finish();
    services.respond(key, bytes, now);
}
