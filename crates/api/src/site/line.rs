//! Lines as the API has them, with their live state.

use offhook_base::Purpose;
use offhook_store::{
    BINDINGS_MAX_DEFAULT, Item, ItemKey, Kind, LINE_CALLS_MAX_DEFAULT, LineSpec, Password, Site,
};
use offhook_switch::{
    directory::{CallPermission, Secret, Srtp},
    fact::LineState,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Problem,
    live::Live,
    resource::{Patched, Resource, nullable, subscriber},
};

/// An address of record and what its devices are doing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Line {
    /// Its number on the node, as events have it.
    id: u64,
    /// The user part of its address of record.
    name: String,
    /// The tenant's name.
    tenant: String,
    /// Shown to the people it calls.
    display_name: Option<String>,
    /// The user who holds it.
    user: Option<String>,
    /// A disabled line is refused as an unknown one is.
    enabled: bool,
    /// `inside` or `outside`.
    #[schema(value_type = String)]
    may_call: CallPermission,
    /// Contacts it may have at once.
    bindings_max: u16,
    /// Calls it may have at once.
    calls_max: u16,
    /// How its media is protected: `auto`, `never` or `always`.
    #[schema(value_type = String)]
    srtp: Srtp,
    /// `idle`, `held`, `ringing` or `busy`.
    #[schema(value_type = String)]
    state: LineState,
    /// Calls it is in now.
    calls: u16,
    /// Contacts it has now.
    bindings: u16,
    /// Only in the answer to the request that had it made: it is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// Only in the answer to the request that made the line: what deserves a second look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A line to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLine {
    /// 1 to 63 letters, digits, `.`, `-`, `_`, `+`.
    name: String,
    /// At most 128 characters.
    display_name: Option<String>,
    /// The user who holds it.
    user: Option<String>,
    /// Default true.
    #[serde(default = "yes")]
    enabled: bool,
    /// 8 to 128 characters; without it one is made and told once.
    password: Option<String>,
    /// `inside` (default) or `outside`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    may_call: CallPermission,
    /// 1 to 100, default 10.
    bindings_max: Option<u16>,
    /// 1 to 1000, default 10.
    calls_max: Option<u16>,
    /// `auto` (default), `never` or `always` SRTP between it and the node.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    srtp: Srtp,
}

/// What shall be other of a line.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinePatch {
    /// `null` takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    display_name: Option<Option<String>>,
    /// `null` makes it nobody's.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    user: Option<Option<String>>,
    /// Off ends its registrations.
    enabled: Option<bool>,
    /// A new password, 8 to 128 characters.
    password: Option<String>,
    /// Have a new password made and told once.
    #[serde(default)]
    generate_password: bool,
    /// `inside` or `outside`.
    #[schema(value_type = Option<String>)]
    may_call: Option<CallPermission>,
    /// 1 to 100.
    bindings_max: Option<u16>,
    /// 1 to 1000.
    calls_max: Option<u16>,
    /// `auto`, `never` or `always` SRTP between it and the node.
    #[schema(value_type = Option<String>)]
    srtp: Option<Srtp>,
}

const fn yes() -> bool {
    true
}

impl Resource for Line {
    type New = NewLine;
    type Patch = LinePatch;

    const KIND: Kind = Kind::Line;

    fn all(site: &Site, tenant: &str, live: &Live) -> Vec<Self> {
        let mine = site.lines.iter().filter(|line| &*line.tenant == tenant);
        mine.map(|line| {
            let now = live.line(line.id);
            Self {
                id: line.id.0,
                name: line.name.to_string(),
                tenant: line.tenant.to_string(),
                display_name: line
                    .display_name
                    .as_ref()
                    .map(|name| name.disclose(Purpose::Operation).clone()),
                user: line.user.as_ref().map(ToString::to_string),
                enabled: line.enabled,
                may_call: line.may_call,
                bindings_max: line.bindings_max,
                calls_max: line.calls_max,
                srtp: line.srtp,
                state: now.state,
                calls: now.calls,
                bindings: now.bindings,
                password: None,
                warnings: Vec::new(),
            }
        })
        .collect()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn item(tenant: &str, new: NewLine) -> Result<Item, Problem> {
        let password = match &new.password {
            Some(password) => Password::Clear(Secret::new(password)),
            None => Password::Generate,
        };
        Ok(Item::Line(LineSpec {
            display_name: new.display_name.as_deref().map(subscriber),
            user: new.user.map(Into::into),
            enabled: new.enabled,
            password,
            may_call: new.may_call,
            bindings_max: new.bindings_max.unwrap_or(BINDINGS_MAX_DEFAULT),
            calls_max: new.calls_max.unwrap_or(LINE_CALLS_MAX_DEFAULT),
            srtp: new.srtp,
            ..LineSpec::new(tenant, &new.name)
        }))
    }

    fn patched(site: &Site, key: &ItemKey, patch: &LinePatch) -> Result<Option<Patched>, Problem> {
        let found = site.lines.iter().find(|line| line.tenant == key.tenant && line.name == key.name);
        let Some(found) = found else { return Ok(None) };
        let before = LineSpec::from(found);
        let mut after = before.clone();
        if let Some(display_name) = &patch.display_name {
            after.display_name = display_name.as_deref().map(subscriber);
        }
        if let Some(user) = &patch.user {
            after.user = user.as_deref().map(Into::into);
        }
        after.enabled = patch.enabled.unwrap_or(after.enabled);
        after.may_call = patch.may_call.unwrap_or(after.may_call);
        after.bindings_max = patch.bindings_max.unwrap_or(after.bindings_max);
        after.calls_max = patch.calls_max.unwrap_or(after.calls_max);
        after.srtp = patch.srtp.unwrap_or(after.srtp);
        after.password = match (&patch.password, patch.generate_password) {
            (Some(_), true) => {
                return Err(Problem::invalid_value(
                    "generate_password",
                    "give a password or have one made, not both",
                ));
            }
            (Some(password), false) => Password::Clear(Secret::new(password)),
            (None, true) => Password::Generate,
            (None, false) => Password::Keep,
        };
        let secret = (after.password != Password::Keep).then_some("password");
        Ok(Some(Patched { before: Item::Line(before), after: Item::Line(after), secret }))
    }

    fn with_password(self, password: Option<String>) -> Self {
        Self { password, ..self }
    }

    fn with_warnings(self, emergency: &[Box<str>]) -> Self {
        let misnamed = emergency.iter().any(|number| **number == *self.name);
        let warning = format!(
            "{0} is an emergency number: the line rings at a call to {0} that no peer takes; hint: give it another name, \
             or take {0} out of sip.emergency_numbers",
            self.name
        );
        Self { warnings: misnamed.then_some(warning).into_iter().collect(), ..self }
    }
}
