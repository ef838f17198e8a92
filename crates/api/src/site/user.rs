//! Users as the API has them.

use offhook_base::Purpose;
use offhook_store::{Item, ItemKey, Kind, Site, UserSpec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Problem,
    live::Live,
    resource::{Patched, Resource, nullable, subscriber},
};

/// A person who holds lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// Unique in the tenant.
    name: String,
    /// The tenant's name.
    tenant: String,
    /// How the user is called among people.
    full_name: Option<String>,
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    name: String,
    /// At most 128 characters.
    full_name: Option<String>,
}

/// What shall be other of a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserPatch {
    /// `null` takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    full_name: Option<Option<String>>,
}

impl Resource for User {
    type New = NewUser;
    type Patch = UserPatch;

    const KIND: Kind = Kind::User;

    fn all(site: &Site, tenant: &str, _live: &Live) -> Vec<Self> {
        let mine = site.users.iter().filter(|user| &*user.tenant == tenant);
        mine.map(|user| Self {
            name: user.name.to_string(),
            tenant: user.tenant.to_string(),
            full_name: user.full_name.as_ref().map(|name| name.disclose(Purpose::Operation).clone()),
        })
        .collect()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn item(tenant: &str, new: NewUser) -> Result<Item, Problem> {
        Ok(Item::User(UserSpec {
            tenant: tenant.into(),
            name: new.name.into(),
            full_name: new.full_name.as_deref().map(subscriber),
        }))
    }

    fn patched(site: &Site, key: &ItemKey, patch: &UserPatch) -> Result<Option<Patched>, Problem> {
        let found = site.users.iter().find(|user| user.tenant == key.tenant && user.name == key.name);
        let Some(found) = found else { return Ok(None) };
        let before = UserSpec {
            tenant: found.tenant.clone(),
            name: found.name.clone(),
            full_name: found.full_name.clone(),
        };
        let mut after = before.clone();
        if let Some(full_name) = &patch.full_name {
            after.full_name = full_name.as_deref().map(subscriber);
        }
        Ok(Some(Patched { before: Item::User(before), after: Item::User(after), secret: None }))
    }
}
