//! The statements behind each change, inside one transaction.

use offhook_base::Purpose;
use offhook_switch::directory::{DEFAULT_TENANT, PasswordHashes};
use sqlx::SqliteConnection;

use crate::{
    check::{Fault, Problem, check_sources},
    edit::{Author, Change, EditError, MadePassword},
    error::StoreError,
    password::{generate_password, hash_password},
    secret_key::SecretKey,
    site::{secret_owner, tenant_id},
    spec::{
        DeviceSpec, Item, ItemKey, Kind, LineSpec, Password, PeerSecret, PeerSpec, TenantSpec, UserSpec,
        permission,
    },
};

/// One transaction at work.
pub struct Editor<'a, F> {
    /// Where the transaction runs.
    pub connection: &'a mut SqliteConnection,
    /// Names the database in an error.
    pub failed: &'a F,
    /// For secrets.
    pub key: &'a SecretKey,
    /// The passwords made so far.
    pub made: Vec<MadePassword>,
}

impl<F: Fn(sqlx::Error) -> StoreError> Editor<'_, F> {
    /// Carries out one change.
    pub async fn carry_out(&mut self, change: &Change) -> Result<(), EditError> {
        match change {
            Change::Remove(key) => self.remove(key).await,
            Change::Add(item) => match item {
                Item::Tenant(tenant) => self.add_tenant(tenant).await,
                Item::User(user) => self.add_user(user).await,
                Item::Line(line) => self.add_line(line).await,
                Item::Device(device) => self.add_device(device).await,
                Item::Peer(peer) => self.add_peer(peer).await,
            },
            Change::Set(item, _) => match item {
                Item::Tenant(tenant) => self.set_tenant(tenant).await,
                Item::User(user) => self.set_user(user).await,
                Item::Line(line) => self.set_line(line).await,
                Item::Device(device) => self.set_device(device).await,
                Item::Peer(peer) => self.set_peer(peer).await,
            },
        }
    }

    /// Writes who changed what.
    pub async fn audit(&mut self, by: &Author, change: &Change, generation: u64) -> Result<(), EditError> {
        let (action, fields) = match change {
            Change::Add(_) => ("add", String::new()),
            Change::Remove(_) => ("remove", String::new()),
            Change::Set(_, fields) => {
                ("set", fields.iter().map(|field| field.field).collect::<Vec<_>>().join(","))
            }
        };
        let key = change.key();
        sqlx::query(
            "INSERT INTO audit (at, who, action, kind, tenant, name, fields, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(by.at.0)
        .bind(&*by.who)
        .bind(action)
        .bind(key.kind.as_str())
        .bind(&*key.tenant)
        .bind(&*key.name)
        .bind(fields)
        .bind(generation.cast_signed())
        .execute(&mut *self.connection)
        .await
        .map_err(self.failed)?;
        Ok(())
    }

    /// Frees the domains of every tenant that is about to be set, so that two of them can exchange theirs.
    pub async fn free_domains(&mut self, changes: &[Change]) -> Result<(), EditError> {
        for change in changes {
            if let Change::Set(Item::Tenant(tenant), _) = change {
                sqlx::query("DELETE FROM domains WHERE tenant_id = (SELECT id FROM tenants WHERE name = ?)")
                    .bind(&*tenant.name)
                    .execute(&mut *self.connection)
                    .await
                    .map_err(self.failed)?;
            }
        }
        Ok(())
    }

    /// The tenant's number, or the error that there is none.
    async fn tenant(&mut self, name: &str) -> Result<i64, EditError> {
        let id = tenant_id(self.connection, name).await.map_err(self.failed)?;
        id.ok_or_else(|| EditError::Missing(ItemKey::tenant(name)))
    }

    /// Turns the outcome of an INSERT into "exists already" where a unique name is taken.
    fn inserted<T>(&self, outcome: Result<T, sqlx::Error>, key: ItemKey) -> Result<T, EditError> {
        outcome.map_err(|error| match &error {
            sqlx::Error::Database(refusal) if refusal.is_unique_violation() => EditError::Exists(key),
            _ => EditError::Store((self.failed)(error)),
        })
    }

    /// Turns the outcome of an UPDATE or DELETE into "there is no such thing" where it touched nothing.
    fn touched(
        &self,
        outcome: Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>,
        key: &ItemKey,
    ) -> Result<(), EditError> {
        match outcome.map_err(self.failed)?.rows_affected() {
            0 => Err(EditError::Missing(key.clone())),
            _ => Ok(()),
        }
    }

    async fn add_tenant(&mut self, tenant: &TenantSpec) -> Result<(), EditError> {
        let realm = tenant.realm.as_deref().or(tenant.domains.first().map(|domain| &**domain));
        let outcome = sqlx::query_scalar("INSERT INTO tenants (name, realm) VALUES (?, ?) RETURNING id")
            .bind(&*tenant.name)
            .bind(realm.unwrap_or(&tenant.name))
            .fetch_one(&mut *self.connection)
            .await;
        let id = self.inserted(outcome, ItemKey::tenant(&tenant.name))?;
        self.set_domains(id, tenant).await
    }

    async fn set_tenant(&mut self, tenant: &TenantSpec) -> Result<(), EditError> {
        let id = self.tenant(&tenant.name).await?;
        if let Some(realm) = &tenant.realm {
            let present: Option<Box<str>> = sqlx::query_scalar(
                "SELECT realm FROM tenants WHERE id = ? AND realm != ? AND EXISTS (SELECT 1 FROM lines WHERE tenant_id = tenants.id)",
            )
            .bind(id)
            .bind(&**realm)
            .fetch_optional(&mut *self.connection)
            .await
            .map_err(self.failed)?;
            if let Some(realm) = present {
                let path = format!("tenants.{}.realm", tenant.name);
                return Err(EditError::Invalid(vec![Fault { path, problem: Problem::RealmInUse { realm } }]));
            }
            let update = sqlx::query("UPDATE tenants SET realm = ? WHERE id = ?").bind(&**realm).bind(id);
            update.execute(&mut *self.connection).await.map_err(self.failed)?;
        }
        self.set_domains(id, tenant).await
    }

    async fn set_domains(&mut self, id: i64, tenant: &TenantSpec) -> Result<(), EditError> {
        for (position, domain) in (0_i64..).zip(&tenant.domains) {
            let owner: Option<Box<str>> = sqlx::query_scalar(
                "SELECT tenants.name FROM domains JOIN tenants ON tenants.id = tenant_id WHERE domain = ?",
            )
            .bind(&**domain)
            .fetch_optional(&mut *self.connection)
            .await
            .map_err(self.failed)?;
            if let Some(owner) = owner {
                let problem = Problem::DomainTaken { domain: domain.clone(), tenant: owner };
                let path = format!("tenants.{}.domains[{position}]", tenant.name);
                return Err(EditError::Invalid(vec![Fault { path, problem }]));
            }
            sqlx::query("INSERT INTO domains (domain, tenant_id, position) VALUES (?, ?, ?)")
                .bind(&**domain)
                .bind(id)
                .bind(position)
                .execute(&mut *self.connection)
                .await
                .map_err(self.failed)?;
        }
        Ok(())
    }

    async fn add_user(&mut self, user: &UserSpec) -> Result<(), EditError> {
        let tenant = self.tenant(&user.tenant).await?;
        let outcome = sqlx::query("INSERT INTO users (tenant_id, name, full_name) VALUES (?, ?, ?)")
            .bind(tenant)
            .bind(&*user.name)
            .bind(user.full_name.as_ref().map(|name| name.disclose(Purpose::Operation)))
            .execute(&mut *self.connection)
            .await;
        self.inserted(outcome, ItemKey::new(Kind::User, &user.tenant, &user.name)).map(drop)
    }

    async fn set_user(&mut self, user: &UserSpec) -> Result<(), EditError> {
        let tenant = self.tenant(&user.tenant).await?;
        let outcome = sqlx::query("UPDATE users SET full_name = ? WHERE tenant_id = ? AND name = ?")
            .bind(user.full_name.as_ref().map(|name| name.disclose(Purpose::Operation)))
            .bind(tenant)
            .bind(&*user.name)
            .execute(&mut *self.connection)
            .await;
        self.touched(outcome, &ItemKey::new(Kind::User, &user.tenant, &user.name))
    }

    /// The number of the user who holds `line`, or the fault that there is none.
    async fn holder(&mut self, tenant: i64, line: &LineSpec) -> Result<Option<i64>, EditError> {
        let Some(user) = &line.user else { return Ok(None) };
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM users WHERE tenant_id = ? AND name = ?")
            .bind(tenant)
            .bind(&**user)
            .fetch_optional(&mut *self.connection)
            .await
            .map_err(self.failed)?;
        let missing = || {
            let path = format!("{}.user", ItemKey::new(Kind::Line, &line.tenant, &line.name).document_path());
            EditError::Invalid(vec![Fault {
                path,
                problem: Problem::Missing { kind: "user", name: user.clone() },
            }])
        };
        id.map(Some).ok_or_else(missing)
    }

    /// The hashes of a new password, kept in mind if it was made here.
    async fn hashes(&mut self, tenant: i64, line: &LineSpec) -> Result<PasswordHashes, EditError> {
        let realm: Box<str> = sqlx::query_scalar("SELECT realm FROM tenants WHERE id = ?")
            .bind(tenant)
            .fetch_one(&mut *self.connection)
            .await
            .map_err(self.failed)?;
        let password = match &line.password {
            Password::Clear(password) => password.clone(),
            Password::Keep | Password::Generate => {
                let password = generate_password()?;
                let line = ItemKey::new(Kind::Line, &line.tenant, &line.name);
                self.made.push(MadePassword { line, password: password.clone() });
                password
            }
        };
        Ok(hash_password(&line.name, &realm, &password))
    }

    async fn add_line(&mut self, line: &LineSpec) -> Result<(), EditError> {
        let tenant = self.tenant(&line.tenant).await?;
        let user = self.holder(tenant, line).await?;
        let hashes = self.hashes(tenant, line).await?;
        let outcome = sqlx::query(
            "INSERT INTO lines (tenant_id, name, display_name, user_id, enabled, password_md5, password_sha256, \
             may_call, bindings_max, calls_max, srtp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(tenant)
        .bind(&*line.name)
        .bind(line.display_name.as_ref().map(|name| name.disclose(Purpose::Operation)))
        .bind(user)
        .bind(line.enabled)
        .bind(hex(&hashes.md5))
        .bind(hex(&hashes.sha256))
        .bind(permission(line.may_call))
        .bind(line.bindings_max)
        .bind(line.calls_max)
        .bind(line.srtp.as_str())
        .execute(&mut *self.connection)
        .await;
        self.inserted(outcome, ItemKey::new(Kind::Line, &line.tenant, &line.name)).map(drop)
    }

    async fn set_line(&mut self, line: &LineSpec) -> Result<(), EditError> {
        let key = ItemKey::new(Kind::Line, &line.tenant, &line.name);
        let tenant = self.tenant(&line.tenant).await?;
        let user = self.holder(tenant, line).await?;
        let outcome = sqlx::query(
            "UPDATE lines SET display_name = ?, user_id = ?, enabled = ?, may_call = ?, bindings_max = ?, calls_max = ?, \
             srtp = ? WHERE tenant_id = ? AND name = ?",
        )
        .bind(line.display_name.as_ref().map(|name| name.disclose(Purpose::Operation)))
        .bind(user)
        .bind(line.enabled)
        .bind(permission(line.may_call))
        .bind(line.bindings_max)
        .bind(line.calls_max)
        .bind(line.srtp.as_str())
        .bind(tenant)
        .bind(&*line.name)
        .execute(&mut *self.connection)
        .await;
        self.touched(outcome, &key)?;
        if line.password != Password::Keep {
            let hashes = self.hashes(tenant, line).await?;
            sqlx::query(
                "UPDATE lines SET password_md5 = ?, password_sha256 = ? WHERE tenant_id = ? AND name = ?",
            )
            .bind(hex(&hashes.md5))
            .bind(hex(&hashes.sha256))
            .bind(tenant)
            .bind(&*line.name)
            .execute(&mut *self.connection)
            .await
            .map_err(self.failed)?;
        }
        Ok(())
    }

    async fn add_device(&mut self, device: &DeviceSpec) -> Result<(), EditError> {
        let tenant = self.tenant(&device.tenant).await?;
        let outcome = sqlx::query_scalar(
            "INSERT INTO devices (tenant_id, name, kind, instance) VALUES (?, ?, ?, ?) RETURNING id",
        )
        .bind(tenant)
        .bind(&*device.name)
        .bind(&*device.kind)
        .bind(device.instance.as_deref())
        .fetch_one(&mut *self.connection)
        .await;
        let id = self.inserted(outcome, ItemKey::new(Kind::Device, &device.tenant, &device.name))?;
        self.set_device_lines(tenant, id, device).await
    }

    async fn set_device(&mut self, device: &DeviceSpec) -> Result<(), EditError> {
        let tenant = self.tenant(&device.tenant).await?;
        let id: Option<i64> = sqlx::query_scalar(
            "UPDATE devices SET kind = ?, instance = ? WHERE tenant_id = ? AND name = ? RETURNING id",
        )
        .bind(&*device.kind)
        .bind(device.instance.as_deref())
        .bind(tenant)
        .bind(&*device.name)
        .fetch_optional(&mut *self.connection)
        .await
        .map_err(self.failed)?;
        let key = || ItemKey::new(Kind::Device, &device.tenant, &device.name);
        let id = id.ok_or_else(|| EditError::Missing(key()))?;
        let delete = sqlx::query("DELETE FROM device_lines WHERE device_id = ?").bind(id);
        delete.execute(&mut *self.connection).await.map_err(self.failed)?;
        self.set_device_lines(tenant, id, device).await
    }

    async fn set_device_lines(&mut self, tenant: i64, id: i64, device: &DeviceSpec) -> Result<(), EditError> {
        for (position, line) in (0_i64..).zip(&device.lines) {
            let added = sqlx::query(
                "INSERT INTO device_lines (device_id, line_id, position) \
                 SELECT ?, id, ? FROM lines WHERE tenant_id = ? AND name = ?",
            )
            .bind(id)
            .bind(position)
            .bind(tenant)
            .bind(&**line)
            .execute(&mut *self.connection)
            .await
            .map_err(self.failed)?;
            if added.rows_affected() == 0 {
                let key = ItemKey::new(Kind::Device, &device.tenant, &device.name);
                let path = format!("{}.lines[{position}]", key.document_path());
                let problem = Problem::Missing { kind: "line", name: line.clone() };
                return Err(EditError::Invalid(vec![Fault { path, problem }]));
            }
        }
        Ok(())
    }

    async fn add_peer(&mut self, peer: &PeerSpec) -> Result<(), EditError> {
        let tenant = self.tenant(&peer.tenant).await?;
        let outcome = sqlx::query(
            "INSERT INTO peers (tenant_id, name, enabled, sources, prefixes, may_call, calls_max, anchor_media) \
             VALUES (?, ?, 0, '[]', '[]', 'inside', 1, 1)",
        )
        .bind(tenant)
        .bind(&*peer.name)
        .execute(&mut *self.connection)
        .await;
        self.inserted(outcome, ItemKey::new(Kind::Peer, &peer.tenant, &peer.name))?;
        self.set_peer(peer).await
    }

    async fn set_peer(&mut self, peer: &PeerSpec) -> Result<(), EditError> {
        let key = ItemKey::new(Kind::Peer, &peer.tenant, &peer.name);
        let tenant = self.tenant(&peer.tenant).await?;
        let sources: Vec<_> = peer.sources.iter().map(ToString::to_string).collect();
        let outcome = sqlx::query(
            "UPDATE peers SET enabled = ?, sources = ?, host = ?, port = ?, transport = ?, username = ?, prefixes = ?, \
             may_call = ?, calls_max = ?, anchor_media = ?, srtp = ? WHERE tenant_id = ? AND name = ?",
        )
        .bind(peer.enabled)
        .bind(serde_json::to_string(&sources).unwrap_or_default())
        .bind(peer.host.as_deref())
        .bind(peer.port)
        .bind(peer.transport.map(|transport| transport.to_string()))
        .bind(peer.username.as_deref())
        .bind(serde_json::to_string(&peer.prefixes).unwrap_or_default())
        .bind(permission(peer.may_call))
        .bind(peer.calls_max)
        .bind(peer.anchor_media)
        .bind(peer.srtp.as_str())
        .bind(tenant)
        .bind(&*peer.name)
        .execute(&mut *self.connection)
        .await;
        self.touched(outcome, &key)?;
        let sealed = match &peer.secret {
            // A secret without its user name answers no challenge: it would only lie there.
            _ if peer.username.is_none() => None,
            PeerSecret::Keep => return self.has_secret(tenant, &key).await,
            PeerSecret::Remove => None,
            PeerSecret::Clear(secret) => {
                let owner = secret_owner(&peer.tenant, &peer.name);
                Some(self.key.seal(secret, &owner).map_err(|_| StoreError::NoRandomness)?)
            }
        };
        sqlx::query("UPDATE peers SET secret = ? WHERE tenant_id = ? AND name = ?")
            .bind(sealed)
            .bind(tenant)
            .bind(&*peer.name)
            .execute(&mut *self.connection)
            .await
            .map_err(self.failed)?;
        Ok(())
    }

    /// A peer with a user name has kept a secret, or is refused.
    async fn has_secret(&mut self, tenant: i64, key: &ItemKey) -> Result<(), EditError> {
        let sealed: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM peers WHERE tenant_id = ? AND name = ? AND secret IS NOT NULL")
                .bind(tenant)
                .bind(&*key.name)
                .fetch_optional(&mut *self.connection)
                .await
                .map_err(self.failed)?;
        let path = || format!("{}.username", key.document_path());
        let missing = || EditError::Invalid(vec![Fault { path: path(), problem: Problem::NeedsSecret }]);
        sealed.map(|_| ()).ok_or_else(missing)
    }

    /// Refuses what `changes` have made if an enabled peer of theirs shares its addresses with another.
    pub async fn check_sources(&mut self, changes: &[Change]) -> Result<(), EditError> {
        let changed: Vec<ItemKey> = changes
            .iter()
            .filter(|change| matches!(change, Change::Add(Item::Peer(_)) | Change::Set(Item::Peer(_), _)))
            .map(Change::key)
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Box<str>, Box<str>, String)> = sqlx::query_as(
            "SELECT tenants.name, peers.name, sources FROM peers JOIN tenants ON tenants.id = tenant_id \
             WHERE enabled ORDER BY peers.id",
        )
        .fetch_all(&mut *self.connection)
        .await
        .map_err(self.failed)?;
        let ranges = |sources: &str| -> Vec<_> {
            let texts: Vec<String> = serde_json::from_str(sources).unwrap_or_default();
            texts.iter().filter_map(|range| range.parse().ok()).collect()
        };
        let peers: Vec<_> = rows
            .iter()
            .map(|(tenant, name, sources)| (ItemKey::new(Kind::Peer, tenant, name), ranges(sources)))
            .collect();
        let mut faults = Vec::new();
        let peers = peers.iter().map(|(key, sources)| (key.clone(), sources.as_slice()));
        check_sources(peers, |key| changed.contains(key), &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(EditError::Invalid(faults)) }
    }

    async fn remove(&mut self, key: &ItemKey) -> Result<(), EditError> {
        let tenant = self.tenant(&key.tenant).await?;
        let delete = match key.kind {
            Kind::Tenant => return self.remove_tenant(tenant, key).await,
            Kind::User => "DELETE FROM users WHERE tenant_id = ? AND name = ?",
            Kind::Line => "DELETE FROM lines WHERE tenant_id = ? AND name = ?",
            Kind::Device => "DELETE FROM devices WHERE tenant_id = ? AND name = ?",
            Kind::Peer => "DELETE FROM peers WHERE tenant_id = ? AND name = ?",
        };
        let outcome = sqlx::query(delete).bind(tenant).bind(&*key.name).execute(&mut *self.connection).await;
        self.touched(outcome, key)
    }

    async fn remove_tenant(&mut self, tenant: i64, key: &ItemKey) -> Result<(), EditError> {
        if &*key.name == DEFAULT_TENANT {
            return Err(EditError::DefaultTenant);
        }
        let outcome = sqlx::query(
            "DELETE FROM tenants WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM users WHERE tenant_id = ?1) \
             AND NOT EXISTS (SELECT 1 FROM lines WHERE tenant_id = ?1) \
             AND NOT EXISTS (SELECT 1 FROM devices WHERE tenant_id = ?1) \
             AND NOT EXISTS (SELECT 1 FROM peers WHERE tenant_id = ?1)",
        )
        .bind(tenant)
        .execute(&mut *self.connection)
        .await;
        self.touched(outcome, key).map_err(|error| match error {
            EditError::Missing(key) => EditError::NotEmpty(key.name),
            other => other,
        })
    }
}

/// Hash letters as text: they are ASCII by construction.
fn hex(letters: &[u8]) -> &str {
    std::str::from_utf8(letters).unwrap_or_default()
}
