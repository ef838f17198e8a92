//! Who owns what: from a transaction, a tag or a media endpoint to the call it belongs to.

use offhook_base::Random;
use offhook_sip::transaction::{ClientKey, ServerKey};
use rustc_hash::FxHashMap;

use super::event::AskId;
use crate::media::EndpointId;

/// Names a call while it lasts. A slot that is used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// A leg's position in its call; the caller's is 0.
pub type LegIndex = u16;

/// The tag we put on our end of a dialog: 60 random bits, so it also finds the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalTag([u8; LocalTag::LETTERS]);

impl LocalTag {
    const LETTERS: usize = 12;

    /// A fresh one.
    pub fn new(random: &mut Random) -> Self {
        let token = random.token::<{ Self::LETTERS }>();
        let mut letters = [0; Self::LETTERS];
        letters.copy_from_slice(token.as_str().as_bytes());
        Self(letters)
    }

    /// As received, if it can be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One end of a dialog of ours: which leg it belongs to, and on which side of the node it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogEnd {
    /// The call.
    pub call: CallKey,
    /// The leg; of an early dialog that the caller sees, the branch it stands for.
    pub leg: LegIndex,
    /// It is the early dialog that the caller sees for the branch, not the dialog with the device.
    pub faces_caller: bool,
}

/// What a client transaction was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientUse {
    /// The INVITE that rings a device.
    Invite,
    /// A PRACK of ours: only failures matter.
    Prack,
    /// A re-INVITE or UPDATE that passes on an offer of the other leg.
    Modify,
    /// A re-INVITE or UPDATE that keeps the session alive.
    Refresh,
    /// A request within the dialog passed on for the other leg: INFO, MESSAGE.
    Relay,
    /// A BYE.
    Bye,
    /// A BYE to a fork that answered besides the one we talk to: nothing depends on its answer.
    Release,
}

/// The owner of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOwner {
    /// The call.
    pub call: CallKey,
    /// The leg it was sent to.
    pub leg: LegIndex,
    /// What for.
    pub purpose: ClientUse,
}

/// The tables. What is entered is numbered or made at random by us, so nobody can crowd a bucket: the hash may be quick.
#[derive(Debug, Default)]
pub struct Owners {
    clients: FxHashMap<ClientKey, ClientOwner>,
    invites: FxHashMap<ServerKey, CallKey>,
    tags: FxHashMap<LocalTag, DialogEnd>,
    endpoints: FxHashMap<EndpointId, (CallKey, LegIndex)>,
    asks: FxHashMap<AskId, CallKey>,
    last_endpoint: u64,
    last_ask: u64,
}

impl Owners {
    /// Remembers who started a client transaction.
    pub fn client_started(&mut self, key: ClientKey, owner: ClientOwner) {
        self.clients.insert(key, owner);
    }

    /// Who started it.
    pub fn client(&self, key: ClientKey) -> Option<ClientOwner> {
        self.clients.get(&key).copied()
    }

    /// It is over.
    pub fn client_ended(&mut self, key: ClientKey) -> Option<ClientOwner> {
        self.clients.remove(&key)
    }

    /// Remembers which call an INVITE of the caller opened, or which call a re-INVITE belongs to.
    pub fn invite_received(&mut self, key: ServerKey, call: CallKey) {
        self.invites.insert(key, call);
    }

    /// The call of a received INVITE.
    pub fn invite(&self, key: ServerKey) -> Option<CallKey> {
        self.invites.get(&key).copied()
    }

    /// The INVITE's transaction is over.
    pub fn invite_ended(&mut self, key: ServerKey) {
        self.invites.remove(&key);
    }

    /// Remembers a tag of ours.
    pub fn tag_used(&mut self, tag: LocalTag, end: DialogEnd) {
        self.tags.insert(tag, end);
    }

    /// The end of the dialog that carries our tag `text`.
    pub fn dialog(&self, text: &str) -> Option<DialogEnd> {
        self.tags.get(&LocalTag::parse(text)?).copied()
    }

    /// The dialog is over.
    pub fn tag_ended(&mut self, tag: LocalTag) {
        self.tags.remove(&tag);
    }

    /// A new endpoint for a leg.
    pub fn new_endpoint(&mut self, call: CallKey, leg: LegIndex) -> EndpointId {
        self.last_endpoint += 1;
        let endpoint = EndpointId(self.last_endpoint);
        self.endpoints.insert(endpoint, (call, leg));
        endpoint
    }

    /// The leg of an endpoint.
    pub fn endpoint(&self, endpoint: EndpointId) -> Option<(CallKey, LegIndex)> {
        self.endpoints.get(&endpoint).copied()
    }

    /// The endpoint is closed.
    pub fn endpoint_ended(&mut self, endpoint: EndpointId) -> Option<(CallKey, LegIndex)> {
        self.endpoints.remove(&endpoint)
    }

    /// A number for a question.
    pub fn new_ask(&mut self, asker: CallKey) -> AskId {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.asks.insert(id, asker);
        id
    }

    /// A number for a question that no call asks.
    pub fn new_ask_of_nobody(&mut self) -> AskId {
        self.last_ask += 1;
        AskId(self.last_ask)
    }

    /// Who asked, once.
    pub fn answered(&mut self, id: AskId) -> Option<CallKey> {
        self.asks.remove(&id)
    }

    /// Entries in each table, for leak tests: clients, INVITEs, tags, endpoints, questions.
    pub fn sizes(&self) -> [usize; 5] {
        [self.clients.len(), self.invites.len(), self.tags.len(), self.endpoints.len(), self.asks.len()]
    }
}
