//! A rule as people write it.

use serde::Deserialize;

use crate::routing::NumberForm;

/// One thing that is done to an INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// For people: what `offhook edge test` calls it.
    #[serde(default)]
    pub name: Box<str>,
    /// Whether it is for INVITEs to the peer or from it.
    pub direction: Direction,
    /// Which header, in any case, or `Request-URI`.
    pub header: Box<str>,
    /// What is done to it.
    pub action: Action,
    /// The text of `add` and `set`, the host of `host`; without it a host becomes `anonymous.invalid`.
    pub value: Option<Box<str>>,
    /// The form of `number`.
    pub form: Option<NumberForm>,
    /// The beginning that `user` takes away; a user without it stays as it is.
    #[serde(default)]
    pub strip: Box<str>,
    /// What `user` then puts in front.
    #[serde(default)]
    pub prepend: Box<str>,
}

/// For which INVITEs a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Those from the peer, before they are looked at.
    In,
    /// Those to the peer, as they are about to leave.
    Out,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Takes all lines of the header away.
    Remove,
    /// Adds a line.
    Add,
    /// Puts one line in the place of all.
    Set,
    /// Writes the numbers of its URIs in another form.
    Number,
    /// Changes the beginning of the users of its URIs.
    User,
    /// Puts another host into its URIs, without port.
    Host,
}
