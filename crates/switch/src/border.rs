//! The border between two parties: what one says reaches the other through here, in requests and responses alike.

use offhook_sip::{
    header::{HeaderName, Headers},
    write::{HeaderValue, Line, MessageWriter},
};

use crate::{
    crossing::{Party, crossing_headers},
    exchange::services::OwnHost,
    rules::{Change, change_addresses},
};

/// What is copied from one leg to another, and at which host addresses are shown beyond.
pub(crate) struct Border {
    from: Party,
    to: Party,
    /// Between peers: what one calls its hosts is not for another.
    host: Option<OwnHost>,
}

impl Border {
    /// `own_host` gives our host as `to` knows it.
    pub fn new(from: Party, to: Party, own_host: impl FnOnce() -> OwnHost) -> Self {
        let between_peers = (from, to) == (Party::Peer, Party::Peer);
        Self { from, to, host: between_peers.then(own_host) }
    }

    /// Where one of the two is a line: there addresses stay as they are.
    pub const fn of_line(from: Party, to: Party) -> Self {
        Self { from, to, host: None }
    }

    /// The host at which addresses are shown instead of their own one, if they may not keep it.
    pub fn shown_at(&self) -> Option<&dyn HeaderValue> {
        self.host.as_ref().map(|host| host as &dyn HeaderValue)
    }

    /// Copies the headers that cross.
    pub fn copy(&self, headers: &Headers, writer: &mut MessageWriter<'_>) {
        for name in crossing_headers(self.from, self.to) {
            match &self.host {
                Some(host) if lists_hosts(&name) && headers.contains(&name) => {
                    let change = Change::Host(Line::written(|line| host.write(line)).into());
                    for value in headers.all(&name) {
                        let changed = change_addresses(value, &change);
                        writer.header(&name, changed.as_deref().unwrap_or(value));
                    }
                }
                _ => {
                    writer.copy_from(headers, &name);
                }
            }
        }
    }
}

/// Whether the header's addresses tell the hosts that a call came by.
const fn lists_hosts(name: &HeaderName) -> bool {
    matches!(name, HeaderName::Diversion | HeaderName::HistoryInfo)
}
