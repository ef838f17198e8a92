//! Whether something is there, and if not, what its name was probably meant to be.

use crate::{
    error::StoreError,
    spec::{ItemKey, Kind},
    store::Store,
    words::nearest,
};

/// Names that are looked through for a near one: more would take longer than a hint is worth.
const NAMES_MAX: i64 = 10_000;

/// What became of a name that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// It is there.
    There,
    /// Its tenant is there, and it is not. The name that it was probably meant to be.
    Missing(Option<Box<str>>),
    /// Not even its tenant is there. The name that this was probably meant to be.
    NoTenant(Option<Box<str>>),
}

impl Store {
    /// Looks for a tenant, line or peer by its name. Cheap where it is there.
    pub async fn look_up(&self, key: &ItemKey) -> Result<Named, StoreError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(failed)?;
        let tenant: Option<i64> = sqlx::query_scalar("SELECT id FROM tenants WHERE name = ?")
            .bind(&*key.tenant)
            .fetch_optional(&mut *reader)
            .await
            .map_err(failed)?;
        let Some(tenant) = tenant else {
            let names: Vec<Box<str>> = sqlx::query_scalar("SELECT name FROM tenants ORDER BY id LIMIT ?")
                .bind(NAMES_MAX)
                .fetch_all(&mut *reader)
                .await
                .map_err(failed)?;
            return Ok(Named::NoTenant(near(&key.tenant, &names)));
        };
        let (one, all) = match key.kind {
            Kind::Tenant => return Ok(Named::There),
            Kind::Line => (
                "SELECT 1 FROM lines WHERE tenant_id = ? AND name = ?",
                "SELECT name FROM lines WHERE tenant_id = ? ORDER BY name LIMIT ?",
            ),
            Kind::Peer => (
                "SELECT 1 FROM peers WHERE tenant_id = ? AND name = ?",
                "SELECT name FROM peers WHERE tenant_id = ? ORDER BY name LIMIT ?",
            ),
            Kind::User => (
                "SELECT 1 FROM users WHERE tenant_id = ? AND name = ?",
                "SELECT name FROM users WHERE tenant_id = ? ORDER BY name LIMIT ?",
            ),
            Kind::Device => (
                "SELECT 1 FROM devices WHERE tenant_id = ? AND name = ?",
                "SELECT name FROM devices WHERE tenant_id = ? ORDER BY name LIMIT ?",
            ),
        };
        let there: Option<i64> = sqlx::query_scalar(one)
            .bind(tenant)
            .bind(&*key.name)
            .fetch_optional(&mut *reader)
            .await
            .map_err(failed)?;
        if there.is_some() {
            return Ok(Named::There);
        }
        let names: Vec<Box<str>> = sqlx::query_scalar(all)
            .bind(tenant)
            .bind(NAMES_MAX)
            .fetch_all(&mut *reader)
            .await
            .map_err(failed)?;
        Ok(Named::Missing(near(&key.name, &names)))
    }

    /// Whether any tenant has a line of this name.
    pub async fn has_line_anywhere(&self, name: &str) -> Result<bool, StoreError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(failed)?;
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM lines WHERE name = ? LIMIT 1")
            .bind(name)
            .fetch_optional(&mut *reader)
            .await
            .map_err(failed)?;
        Ok(found.is_some())
    }
}

fn near(name: &str, names: &[Box<str>]) -> Option<Box<str>> {
    nearest(name, names.iter().map(|name| &**name)).map(Into::into)
}
