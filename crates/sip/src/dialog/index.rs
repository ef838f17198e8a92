//! Which dialog a message belongs to (§12.2.2).

use std::{collections::HashMap, fmt};

use offhook_base::Random;

use crate::{
    header::HeaderError,
    message::{Request, Response},
    transaction::matching::{Kind, MatchKey, Matcher, TakeAsIsBuilder},
};

/// Call-ID and both tags, seen from our side.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialogId<'a> {
    /// Call-ID.
    pub call_id: &'a str,
    /// Our tag.
    pub local_tag: &'a str,
    /// Their tag; empty if they sent none.
    pub remote_tag: &'a str,
}

impl<'a> DialogId<'a> {
    /// The dialog a request names; `None` if it has no To tag and so names none.
    ///
    /// # Errors
    /// From, To or Call-ID is missing or malformed.
    pub fn of_request(request: &'a Request) -> Result<Option<Self>, HeaderError> {
        let headers = request.headers();
        let remote_tag = headers.from()?.tag().unwrap_or_default();
        let call_id = headers.call_id()?;
        Ok(headers.to()?.tag().map(|local_tag| Self { call_id, local_tag, remote_tag }))
    }

    /// The dialog a response to our request names; `None` if it has no To tag.
    ///
    /// # Errors
    /// From, To or Call-ID is missing or malformed.
    pub fn of_response(response: &'a Response) -> Result<Option<Self>, HeaderError> {
        let headers = response.headers();
        let local_tag = headers.from()?.tag().unwrap_or_default();
        let call_id = headers.call_id()?;
        Ok(headers.to()?.tag().map(|remote_tag| Self { call_id, local_tag, remote_tag }))
    }
}

/// A Call-ID may hold an address.
impl fmt::Debug for DialogId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialogId(***)")
    }
}

/// Finds what a worker keeps per dialog. Holds no text: the three parts are hashed to 128 bits under a secret, as the
/// transaction layer does it. Bounded by its owner, who knows how many dialogs it lets live.
#[derive(Debug)]
pub struct DialogIndex<T> {
    matcher: Matcher,
    map: HashMap<MatchKey, T, TakeAsIsBuilder>,
}

impl<T: Copy> DialogIndex<T> {
    /// An empty index.
    pub fn new(random: &mut Random) -> Self {
        Self { matcher: Matcher::new(random), map: HashMap::default() }
    }

    /// Files `value` under `id`; returns what was there.
    pub fn insert(&mut self, id: &DialogId<'_>, value: T) -> Option<T> {
        self.map.insert(self.key(id), value)
    }

    /// What is filed under `id`.
    pub fn get(&self, id: &DialogId<'_>) -> Option<T> {
        self.map.get(&self.key(id)).copied()
    }

    /// Takes it out.
    pub fn remove(&mut self, id: &DialogId<'_>) -> Option<T> {
        self.map.remove(&self.key(id))
    }

    /// How many dialogs are filed.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn key(&self, id: &DialogId<'_>) -> MatchKey {
        self.matcher.key(Kind::Dialog, 0, &[id.call_id, id.local_tag, id.remote_tag])
    }
}
