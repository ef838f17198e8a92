//! Changes of the configuration: each checked, in one transaction, counted and audited.

use std::fmt;

use offhook_base::{Purpose, UtcMillis};
use offhook_switch::directory::{DEFAULT_TENANT, Line, LineId, Peer, Secret};
use sqlx::{Connection, SqliteConnection};

use crate::{
    check::{Fault, Problem, check_item},
    error::StoreError,
    password::{generate_password, hash_password},
    secret_key::SecretKey,
    site::{self, ONE_LINE, ONE_PEER, TenantNames, damaged, line_of_row, peer_of_row, secret_owner},
    spec::{
        DeviceSpec, FieldChange, Item, ItemKey, Kind, LineChange, LineSpec, Password, PeerSecret, PeerSpec,
        TenantSpec, UserSpec, permission,
    },
    store::Store,
};

/// Who changes something, and when: what the audit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The API token's name, or the command's.
    pub who: Box<str>,
    /// When.
    pub at: UtcMillis,
}

impl Author {
    /// `who` at `at`.
    pub fn new(who: &str, at: UtcMillis) -> Self {
        Self { who: who.into(), at }
    }
}

/// One change. `Display` writes it as a plan's line: `+ line 101@default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make it.
    Add(Item),
    /// Make it so; the fields tell people what differs.
    Set(Item, Vec<FieldChange>),
    /// Take it away.
    Remove(ItemKey),
}

impl Change {
    /// What it is about.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Add(item) | Self::Set(item, _) => item.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(item) => write!(f, "+ {}", item.key()),
            Self::Remove(key) => write!(f, "- {key}"),
            Self::Set(item, fields) => {
                write!(f, "~ {}", item.key())?;
                fields.iter().enumerate().try_for_each(|(position, field)| {
                    write!(f, "{}{field}", if position == 0 { " " } else { ", " })
                })
            }
        }
    }
}

/// A password that the store made: told once, kept only as hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePassword {
    /// Whose.
    pub line: ItemKey,
    /// The password.
    pub password: Secret,
}

/// Why a change was refused. Nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Values that are not allowed, all of them.
    #[error("{}", list_faults(.0))]
    Invalid(Vec<Fault>),
    /// It is there already.
    #[error("{0} exists already")]
    Exists(ItemKey),
    /// It is not there.
    #[error("there is no {0}")]
    Missing(ItemKey),
    /// The tenant still has users, lines, devices or peers.
    #[error("tenant {0} is not empty")]
    NotEmpty(Box<str>),
    /// The tenant that serves the node's own addresses.
    #[error("the tenant '{DEFAULT_TENANT}' cannot be removed")]
    DefaultTenant,
    /// Somebody else changed the configuration after the plan was made.
    #[error("the configuration changed since the plan was made (generation {planned}, now {found})")]
    Moved {
        /// The plan's generation.
        planned: u64,
        /// The present one.
        found: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EditError {
    /// What to do about it, in one line.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "correct the values named above; nothing was changed",
            Self::Exists(_) => "use `set` to change it, or another name",
            Self::Missing(_) => "check the spelling and the tenant; `list` shows what there is",
            Self::NotEmpty(_) => "remove what belongs to the tenant first",
            Self::DefaultTenant => "remove its lines and peers instead",
            Self::Moved { .. } => "make a new plan and look at it again",
            Self::Store(error) => error.hint(),
        }
    }
}

fn list_faults(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Store {
    /// Carries out `changes` in one transaction: all or nothing. With `planned`, only if the configuration still has
    /// that generation. Returns the new generation and the passwords made.
    pub async fn execute(
        &self,
        by: &Author,
        changes: &[Change],
        planned: Option<u64>,
    ) -> Result<(u64, Vec<MadePassword>), EditError> {
        let mut faults = Vec::new();
        for change in changes {
            if let Change::Add(item) | Change::Set(item, _) = change {
                check_item(item, &mut faults);
            }
        }
        if !faults.is_empty() {
            return Err(EditError::Invalid(faults));
        }
        let failed = self.site_database().failed();
        let mut writer = self.site_database().writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let found = site::generation(&mut transaction).await.map_err(failed)?;
        if let Some(planned) = planned
            && planned != found
        {
            return Err(EditError::Moved { planned, found });
        }
        let mut editor =
            Editor { connection: &mut transaction, failed: &failed, key: self.key(), made: Vec::new() };
        for change in changes {
            editor.carry_out(change).await?;
            editor.audit(by, change, found + 1).await?;
        }
        let made = editor.made;
        sqlx::query("UPDATE node SET value = value + 1 WHERE key = 'generation'")
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok((found + 1, made))
    }

    /// Adds one thing of any kind. Returns the password if one was made.
    pub async fn add(&self, by: &Author, item: Item) -> Result<Option<Secret>, EditError> {
        let (_, mut made) = self.execute(by, &[Change::Add(item)], None).await?;
        Ok(made.pop().map(|made| made.password))
    }

    /// Adds a line. Returns its password if the store made it.
    pub async fn add_line(&self, by: &Author, line: LineSpec) -> Result<Option<Secret>, EditError> {
        self.add(by, Item::Line(line)).await
    }

    /// Replaces the settings of a tenant, user, device or peer, or of a line.
    pub async fn set(&self, by: &Author, item: Item) -> Result<Option<Secret>, EditError> {
        let (_, mut made) = self.execute(by, &[Change::Set(item, Vec::new())], None).await?;
        Ok(made.pop().map(|made| made.password))
    }

    /// Changes some settings of a line. Returns its password if the store made one.
    pub async fn set_line(
        &self,
        by: &Author,
        tenant: &str,
        name: &str,
        change: LineChange,
    ) -> Result<Option<Secret>, EditError> {
        let key = ItemKey::new(Kind::Line, tenant, name);
        // Two edits of one line at the same moment must not undo each other: whoever comes second plans again.
        loop {
            let (generation, line) = self.line_now(&key).await?;
            let before = LineSpec::from(&line);
            let mut after = before.clone();
            change.clone().patch(&mut after);
            let (before, after) = (Item::Line(before), Item::Line(after));
            let mut fields = after.differences(&before);
            if change.password != Password::Keep {
                fields.push(FieldChange::hidden("password"));
            }
            match self.execute(by, &[Change::Set(after, fields)], Some(generation)).await {
                Err(EditError::Moved { .. }) => {}
                done => return done.map(|(_, mut made)| made.pop().map(|made| made.password)),
            }
        }
    }

    /// Removes one thing. A tenant must be empty.
    pub async fn remove(&self, by: &Author, key: &ItemKey) -> Result<(), EditError> {
        self.execute(by, &[Change::Remove(key.clone())], None).await.map(drop)
    }

    /// One line as it is now.
    pub async fn line(&self, tenant: &str, name: &str) -> Result<Line, EditError> {
        self.line_now(&ItemKey::new(Kind::Line, tenant, name)).await.map(|(_, line)| line)
    }

    async fn line_now(&self, key: &ItemKey) -> Result<(u64, Line), EditError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(failed)?;
        let generation = site::generation(&mut reader).await.map_err(failed)?;
        let tenant = tenant_id(&mut reader, &key.tenant).await.map_err(failed)?;
        let tenant = tenant.ok_or_else(|| EditError::Missing(ItemKey::tenant(&key.tenant)))?;
        let names = TenantNames::from([(tenant, key.tenant.clone())]);
        let row = sqlx::query(ONE_LINE).bind(tenant).bind(&*key.name).fetch_optional(&mut *reader).await;
        let row = row.map_err(failed)?.ok_or_else(|| EditError::Missing(key.clone()))?;
        let line = line_of_row(&row, &names).map_err(failed)?;
        Ok((generation, line.map_err(|what| damaged("lines", &row, what))?))
    }

    /// One peer as it is now, its secret opened.
    pub async fn peer(&self, tenant: &str, name: &str) -> Result<Peer, EditError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().acquire().await.map_err(failed)?;
        let id = tenant_id(&mut reader, tenant).await.map_err(failed)?;
        let id = id.ok_or_else(|| EditError::Missing(ItemKey::tenant(tenant)))?;
        let row =
            sqlx::query(ONE_PEER).bind(id).bind(name).fetch_optional(&mut *reader).await.map_err(failed)?;
        let row = row.ok_or_else(|| EditError::Missing(ItemKey::new(Kind::Peer, tenant, name)))?;
        let names = TenantNames::from([(id, tenant.into())]);
        let peer = peer_of_row(&row, &names, self.key()).map_err(failed)?;
        Ok(peer.map_err(|what| damaged("peers", &row, what))?)
    }

    /// The number of a line, for whoever knows only its name.
    pub async fn line_id(&self, tenant: &str, name: &str) -> Result<LineId, EditError> {
        Ok(self.line(tenant, name).await?.id)
    }
}

async fn tenant_id(connection: &mut SqliteConnection, name: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM tenants WHERE name = ?").bind(name).fetch_optional(connection).await
}

/// One transaction at work.
struct Editor<'a, F> {
    connection: &'a mut SqliteConnection,
    failed: &'a F,
    key: &'a SecretKey,
    made: Vec<MadePassword>,
}

impl<F: Fn(sqlx::Error) -> StoreError> Editor<'_, F> {
    async fn carry_out(&mut self, change: &Change) -> Result<(), EditError> {
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

    async fn audit(&mut self, by: &Author, change: &Change, generation: u64) -> Result<(), EditError> {
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
        let delete = sqlx::query("DELETE FROM domains WHERE tenant_id = ?").bind(id);
        delete.execute(&mut *self.connection).await.map_err(self.failed)?;
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
    async fn hashes(
        &mut self,
        tenant: i64,
        line: &LineSpec,
    ) -> Result<offhook_switch::directory::PasswordHashes, EditError> {
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
             may_call, bindings_max, calls_max) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        .execute(&mut *self.connection)
        .await;
        self.inserted(outcome, ItemKey::new(Kind::Line, &line.tenant, &line.name)).map(drop)
    }

    async fn set_line(&mut self, line: &LineSpec) -> Result<(), EditError> {
        let key = ItemKey::new(Kind::Line, &line.tenant, &line.name);
        let tenant = self.tenant(&line.tenant).await?;
        let user = self.holder(tenant, line).await?;
        let outcome = sqlx::query(
            "UPDATE lines SET display_name = ?, user_id = ?, enabled = ?, may_call = ?, bindings_max = ?, calls_max = ? \
             WHERE tenant_id = ? AND name = ?",
        )
        .bind(line.display_name.as_ref().map(|name| name.disclose(Purpose::Operation)))
        .bind(user)
        .bind(line.enabled)
        .bind(permission(line.may_call))
        .bind(line.bindings_max)
        .bind(line.calls_max)
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
             may_call = ?, calls_max = ?, anchor_media = ? WHERE tenant_id = ? AND name = ?",
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
        .bind(tenant)
        .bind(&*peer.name)
        .execute(&mut *self.connection)
        .await;
        self.touched(outcome, &key)?;
        let sealed = match &peer.secret {
            PeerSecret::Keep => return Ok(()),
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
