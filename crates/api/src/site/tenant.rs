//! Tenants as the API has them.

use offhook_store::{Item, ItemKey, Kind, Site, TenantSpec};
use offhook_switch::directory;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Problem,
    live::Live,
    resource::{Patched, Resource, boxed, strings},
};

/// A customer of the platform.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    /// Unique on the node.
    name: String,
    /// The domains of its addresses of record.
    domains: Vec<String>,
    /// The digest realm of its passwords.
    realm: String,
}

/// A tenant to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// 1 to 63 lower-case letters, digits, `-`.
    name: String,
    /// Host names or addresses; each belongs to one tenant.
    #[serde(default)]
    domains: Vec<String>,
    /// Default: the first domain, or the name.
    realm: Option<String>,
}

/// What shall be other of a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantPatch {
    /// Replaces the list.
    domains: Option<Vec<String>>,
    /// Only while the tenant has no lines: their passwords were hashed for the old one.
    realm: Option<String>,
}

impl Resource for Tenant {
    type New = NewTenant;
    type Patch = TenantPatch;

    const KIND: Kind = Kind::Tenant;

    fn all(site: &Site, _tenant: &str, _live: &Live) -> Vec<Self> {
        let view = |tenant: &directory::Tenant| Self {
            name: tenant.name.to_string(),
            domains: strings(&tenant.domains),
            realm: tenant.realm.to_string(),
        };
        site.tenants.iter().map(view).collect()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn item(_tenant: &str, new: NewTenant) -> Result<Item, Problem> {
        Ok(Item::Tenant(TenantSpec {
            name: new.name.into(),
            domains: boxed(&new.domains),
            realm: new.realm.map(Into::into),
        }))
    }

    fn patched(site: &Site, key: &ItemKey, patch: &TenantPatch) -> Result<Option<Patched>, Problem> {
        let Some(found) = site.tenants.iter().find(|tenant| tenant.name == key.name) else { return Ok(None) };
        let before = TenantSpec {
            name: found.name.clone(),
            domains: found.domains.clone(),
            realm: Some(found.realm.clone()),
        };
        let mut after = before.clone();
        if let Some(domains) = &patch.domains {
            after.domains = boxed(domains);
        }
        if let Some(realm) = &patch.realm {
            after.realm = Some(realm.as_str().into());
        }
        Ok(Some(Patched { before: Item::Tenant(before), after: Item::Tenant(after), secret: None }))
    }
}
