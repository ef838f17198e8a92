//! The phone and its registrar.

use std::time::Duration;

use offhook_base::{Instant, Random};
use offhook_sip::{
    digest::DigestSession,
    header::HeaderName,
    message::{Method, Response},
    write::MessageWriter,
};

use super::{Phone, Use};

/// How long after a failed registration the next one is tried.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Challenges in a row before it gives up for a while.
const REFUSALS_MAX: u8 = 3;

/// What a phone knows of its registration.
#[derive(Debug)]
pub struct Registration {
    call_id: String,
    tag: String,
    cseq: u32,
    credentials: Option<DigestSession>,
    /// Tries with credentials that were refused.
    refused: u8,
    wish: Wish,
    pending: bool,
    registered: bool,
    refresh_at: Option<Instant>,
}

/// What the next REGISTER is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Bind,
    Query,
    Remove,
    RemoveAll,
}

impl Registration {
    /// Not registered; the first REGISTER goes out at `first_at`.
    pub fn new(random: &mut Random, first_at: Option<Instant>) -> Self {
        Self {
            call_id: random.token::<16>().to_string(),
            tag: random.token::<8>().to_string(),
            cseq: 0,
            credentials: None,
            refused: 0,
            wish: Wish::Bind,
            pending: false,
            registered: false,
            refresh_at: first_at,
        }
    }

    /// The phone has died.
    pub const fn lose(&mut self) {
        self.registered = false;
        self.pending = false;
        self.refresh_at = None;
    }

    /// As far as the phone knows.
    pub const fn is_registered(&self) -> bool {
        self.registered
    }

    /// When to register again.
    pub const fn deadline(&self) -> Option<Instant> {
        self.refresh_at
    }
}

impl Phone {
    /// Registers, or registers again.
    pub fn register(&mut self, now: Instant) {
        self.send_register(Wish::Bind, now);
        self.pump(now);
    }

    /// Asks which contacts its line has (RFC 3261 §10.2.3).
    pub fn query_registration(&mut self, now: Instant) {
        self.send_register(Wish::Query, now);
        self.pump(now);
    }

    /// Takes its contact back.
    pub fn unregister(&mut self, now: Instant) {
        self.send_register(Wish::Remove, now);
        self.pump(now);
    }

    /// Takes all contacts of its line back (RFC 3261 §10.2.2).
    pub fn unregister_all(&mut self, now: Instant) {
        self.send_register(Wish::RemoveAll, now);
        self.pump(now);
    }

    pub(super) fn keep_registered(&mut self, now: Instant) {
        if self.registration.refresh_at.is_some_and(|at| at <= now) {
            self.registration.refresh_at = None;
            self.send_register(Wish::Bind, now);
            self.pump(now);
        }
    }

    fn send_register(&mut self, wish: Wish, now: Instant) {
        if self.registration.pending {
            return;
        }
        self.registration.wish = wish;
        self.registration.pending = true;
        self.registration.cseq += 1;
        let branch = self.new_branch();
        let uri = format!("sip:{}", self.domain);
        let aor = format!("<sip:{}@{}>", self.line, self.domain);
        let (via, contact) = (self.via(&branch), self.contact());
        let Registration { call_id, tag, cseq, credentials, .. } = &mut self.registration;
        let mut writer = MessageWriter::request(&mut self.buffer, &Method::Register, &uri);
        writer.header(&HeaderName::Via, via);
        writer.header(&HeaderName::MaxForwards, 70_u8);
        writer.header(&HeaderName::From, format_args!("{aor};tag={tag}"));
        writer.header(&HeaderName::To, aor);
        writer.header(&HeaderName::CallId, &*call_id);
        writer.header(&HeaderName::CSeq, format_args!("{cseq} REGISTER"));
        match wish {
            Wish::Bind => {
                let q = self.habits.q.map_or(String::new(), |q| format!(";q={q}"));
                let instance = self.habits.instance.as_ref();
                let instance =
                    instance.map_or(String::new(), |urn| format!(";+sip.instance=\"<{urn}>\";reg-id=1"));
                let expires = self.habits.expires;
                writer.header(&HeaderName::Contact, format_args!("{contact}{q};expires={expires}{instance}"));
                if !instance.is_empty() {
                    writer.header(&HeaderName::Supported, "path, outbound");
                }
            }
            Wish::Query => {}
            Wish::Remove => {
                writer.header(&HeaderName::Contact, format_args!("{contact};expires=0"));
            }
            Wish::RemoveAll => {
                writer.header(&HeaderName::Contact, "*");
                writer.header(&HeaderName::Expires, 0_u8);
            }
        }
        if let Some(credentials) = credentials {
            let value = credentials.authorize(&Method::Register, &uri, &[], &mut self.random);
            writer.header(&HeaderName::Authorization, value);
        }
        let bytes = writer.finish();
        self.send(&Method::Register, &branch, bytes, Use::Register, now);
    }

    pub(super) fn register_answered(&mut self, response: &Response, now: Instant) {
        let status = response.status();
        if status.is_provisional() {
            return;
        }
        self.registration.pending = false;
        let stale = response.headers().www_authenticate().any(|challenge| challenge.stale);
        let again = self.registration.refused == 0 || (stale && self.registration.refused < REFUSALS_MAX);
        if status.as_u16() == 401 && again {
            self.registration.refused += 1;
            self.registration.credentials = self.answer_to(response);
            let wish = self.registration.wish;
            return self.send_register(wish, now);
        }
        self.registration.refused = 0;
        let wish = self.registration.wish;
        if !status.is_success() {
            self.registration.registered &= wish != Wish::Bind;
            self.registration.refresh_at = Some(now + AGAIN_AFTER);
            return;
        }
        match wish {
            Wish::Bind => {
                self.registration.registered = true;
                let seconds = self.granted(response).unwrap_or(self.habits.expires);
                self.registration.refresh_at = Some(now + Duration::from_secs(u64::from(seconds)) / 2);
            }
            Wish::Query => {}
            Wish::Remove | Wish::RemoveAll => {
                self.registration.registered = false;
                self.registration.refresh_at = None;
            }
        }
    }

    pub(super) fn register_unanswered(&mut self, now: Instant) {
        self.registration.pending = false;
        self.registration.registered = false;
        self.registration.refresh_at = Some(now + AGAIN_AFTER);
    }

    /// The lifetime the registrar gave to our contact.
    fn granted(&self, response: &Response) -> Option<u32> {
        let contacts = response.headers().contacts().ok()?;
        let own = self.contact_uri();
        contacts.as_slice().iter().find(|contact| contact.uri() == own)?.expires()
    }

    /// Takes up a challenge.
    pub(super) fn answer_to(&self, response: &Response) -> Option<DigestSession> {
        let headers = response.headers();
        let ha1 = |hash: offhook_sip::digest::HashFunction, realm: &str| {
            Some(hash.ha1(&self.line, realm, &self.password))
        };
        if response.status().as_u16() == 407 {
            DigestSession::answer_to(&self.line, headers.proxy_authenticate(), ha1)
        } else {
            DigestSession::answer_to(&self.line, headers.www_authenticate(), ha1)
        }
    }
}
