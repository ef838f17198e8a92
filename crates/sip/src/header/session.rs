//! Headers of dialogs and sessions: CSeq, Session-Expires, RAck, Replaces and its kin, Event.

use std::fmt;

use super::{
    params::{Params, split_params},
    scan::{delta_seconds, is_call_id, is_lws_char, is_token, number, trim, trim_start},
};

/// CSeq (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// 0..=2^31-1 where a peer keeps to RFC 3261 §8.1.1.5; all 32 bits are accepted.
    pub number: u32,
    /// The method as written.
    pub method: &'a str,
}

impl<'a> CSeq<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (text, method) = trim(value).split_once(is_lws_char)?;
        let method = trim(method);
        is_token(method).then_some(Self { number: number(text)?, method })
    }
}

/// Who refreshes the session (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The client of the transaction that carries it.
    Uac,
    /// The server of it.
    Uas,
}

/// Session-Expires (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval, seconds.
    pub seconds: u32,
    /// `None` if it is left to the other side.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let (seconds, params) = split_params(value);
        let refresher = match Params::parse(params)?.value("refresher") {
            Some(role) if role.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(role) if role.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return None,
            None => None,
        };
        Some(Self { seconds: delta_seconds(seconds)?, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// RAck (RFC 3262 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The RSeq of the response that is acknowledged.
    pub rseq: u32,
    /// Its CSeq.
    pub cseq: CSeq<'a>,
}

impl<'a> RAck<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (rseq, cseq) = trim(value).split_once(is_lws_char)?;
        Some(Self { rseq: number(rseq)?, cseq: CSeq::parse(trim_start(cseq))? })
    }
}

/// A dialog named in Replaces (RFC 3891), Join (RFC 3911) or Target-Dialog (RFC 4538).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DialogRef<'a> {
    /// Its Call-ID.
    pub call_id: &'a str,
    /// The tag that is the recipient's own (`to-tag` in Replaces and Join, `local-tag` in Target-Dialog).
    pub local_tag: &'a str,
    /// The tag of the recipient's peer (`from-tag`, `remote-tag`).
    pub remote_tag: &'a str,
    /// Replaces only: an early dialog is meant (`early-only`).
    pub early_only: bool,
}

impl<'a> DialogRef<'a> {
    pub(crate) fn parse(value: &'a str, local: &str, remote: &str) -> Option<Self> {
        let (call_id, params) = split_params(value);
        let call_id = trim(call_id);
        let params = Params::parse(params)?;
        is_call_id(call_id).then_some(Self {
            call_id,
            local_tag: params.value(local)?,
            remote_tag: params.value(remote)?,
            early_only: params.contains("early-only"),
        })
    }
}

/// A Call-ID may hold an address.
impl fmt::Debug for DialogRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialogRef").field("early_only", &self.early_only).finish_non_exhaustive()
    }
}

/// Event (RFC 6665 §8.2.1).
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The package and its templates, as `presence.winfo`.
    pub package: &'a str,
    /// The subscription's `id`, if it has one.
    pub id: Option<&'a str>,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Event<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (package, params) = split_params(value);
        let params = Params::parse(params)?;
        let package = trim(package);
        is_token(package).then_some(Self { package, id: params.value("id"), params })
    }
}
