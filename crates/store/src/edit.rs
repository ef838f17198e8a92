//! Changes of the configuration: each checked, in one transaction, counted and audited.

use std::fmt;

use offhook_base::UtcMillis;
use offhook_switch::directory::{DEFAULT_TENANT, Line, LineId, Peer, Secret};
use sqlx::Connection;

use crate::{
    check::{Fault, check_item},
    editor::Editor,
    error::StoreError,
    site::{self, ONE_LINE, ONE_PEER, TenantNames, damaged, line_of_row, peer_of_row, tenant_id},
    spec::{FieldChange, Item, ItemKey, Kind, LineChange, LineSpec, Password},
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
        editor.free_domains(changes).await?;
        for change in changes {
            editor.carry_out(change).await?;
            editor.audit(by, change, found + 1).await?;
        }
        editor.check_sources(changes).await?;
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
