//! Reading the whole configuration in one pass per table.

use std::{collections::HashMap, sync::Arc};

use offhook_base::{DataSubject, Personal};
use offhook_switch::directory::{
    CallPermission, Device, Directory, Line, LineId, PasswordHashes, Peer, PeerId, Srtp, Tenant, User,
};
use offhook_switch::routing::Routing;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{error::StoreError, routing, secret_key::SecretKey, store::Store};

/// Everything configured, in the order of its making.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The number of changes so far; it moves with every one.
    pub generation: u64,
    /// All tenants.
    pub tenants: Vec<Tenant>,
    /// All users.
    pub users: Vec<User>,
    /// All devices.
    pub devices: Vec<Device>,
    /// All lines.
    pub lines: Vec<Line>,
    /// All peers.
    pub peers: Vec<Peer>,
    /// Where calls go.
    pub routing: Arc<Routing>,
}

impl Site {
    /// The snapshot that workers read.
    pub fn into_directory(self) -> Directory {
        Directory::new(self.tenants, self.users, self.devices, self.lines, self.peers)
            .with_routing(self.routing)
    }
}

impl Store {
    /// Reads all that is configured, as of one moment.
    pub async fn load_site(&self) -> Result<Site, StoreError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(failed)?;
        let connection = &mut *reader;
        let generation = generation(connection).await.map_err(failed)?;
        let (tenants, names) = tenants(connection).await.map_err(failed)?;
        let names = Arc::new(names);
        Ok(Site {
            generation,
            tenants,
            users: users(connection, &names).await.map_err(failed)?,
            devices: devices(connection, &names).await.map_err(failed)?,
            lines: self.all_lines(connection, &names, generation).await?,
            peers: self.all_peers(connection, &names).await?,
            routing: routing::in_force(self.routing_cache(), connection).await.map_err(failed)?,
        })
    }

    /// The snapshot that workers read. 100,000 lines take a fraction of a second.
    pub async fn load_directory(&self) -> Result<Directory, StoreError> {
        Ok(self.load_site().await?.into_directory())
    }

    /// Lines of a tenant in the order of their names, behind `after`, at most `limit`: a page of a list.
    pub async fn lines(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Line>, StoreError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(failed)?;
        let Some(id) = tenant_id(&mut reader, tenant).await.map_err(failed)? else { return Ok(Vec::new()) };
        let names = TenantNames::from([(id, tenant.into())]);
        let rows = sqlx::query(PAGE_OF_LINES)
            .bind(id)
            .bind(after.unwrap_or_default())
            .bind(limit)
            .fetch_all(&mut *reader)
            .await
            .map_err(failed)?;
        let line = |row: &SqliteRow| {
            line_of_row(row, &names).map_err(failed)?.map_err(|what| damaged("lines", row, what))
        };
        rows.iter().map(line).collect()
    }

    /// All lines; the later half by another connection, if it sees the same `generation`.
    async fn all_lines(
        &self,
        connection: &mut SqliteConnection,
        names: &Arc<TenantNames>,
        generation: u64,
    ) -> Result<Vec<Line>, StoreError> {
        let failed = self.site_database().failed();
        let bounds: (Option<i64>, Option<i64>) =
            sqlx::query_as("SELECT (SELECT min(id) FROM lines), (SELECT max(id) FROM lines)")
                .fetch_one(&mut *connection)
                .await
                .map_err(failed)?;
        let (Some(first), Some(last)) = bounds else { return Ok(Vec::new()) };
        let end = last.saturating_add(1);
        if end - first < LINES_FOR_TWO {
            return self.lines_between(connection, names, first, end).await;
        }
        let middle = first + (end - first) / 2;
        let (store, their_names) = (self.clone(), Arc::clone(names));
        let later =
            tokio::spawn(async move { store.later_lines(&their_names, middle, end, generation).await });
        let mut lines = self.lines_between(connection, names, first, middle).await?;
        let mut later = match later.await {
            Ok(Ok(Some(later))) => later,
            Ok(Err(error)) => return Err(error),
            // Something was changed between the two snapshots, or the task was cut off.
            Ok(Ok(None)) | Err(_) => self.lines_between(connection, names, middle, end).await?,
        };
        lines.append(&mut later);
        Ok(lines)
    }

    /// Lines by a connection of its own. `None`: it sees another generation.
    async fn later_lines(
        &self,
        names: &TenantNames,
        from: i64,
        end: i64,
        wanted: u64,
    ) -> Result<Option<Vec<Line>>, StoreError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(failed)?;
        if generation(&mut reader).await.map_err(failed)? != wanted {
            return Ok(None);
        }
        self.lines_between(&mut reader, names, from, end).await.map(Some)
    }

    async fn lines_between(
        &self,
        connection: &mut SqliteConnection,
        names: &TenantNames,
        from: i64,
        end: i64,
    ) -> Result<Vec<Line>, StoreError> {
        let failed = self.site_database().failed();
        // Handing each row from SQLite's thread to this one costs more than reading it: whole stretches of the table
        // come as one JSON text.
        let mut lines = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next.filter(|from| *from < end) {
            let (list, after): (String, Option<i64>) = sqlx::query_as(STRETCH_OF_LINES)
                .bind(from)
                .bind(from.saturating_add(LINES_PER_STRETCH).min(end))
                .fetch_one(&mut *connection)
                .await
                .map_err(failed)?;
            next = after;
            let whole = |_| StoreError::Damaged {
                table: "lines",
                row: from.to_string(),
                what: "a value has a wrong type",
            };
            for row in serde_json::from_str::<Vec<LineRow<'_>>>(&list).map_err(whole)? {
                let id = row.0;
                let broken = |what| StoreError::Damaged { table: "lines", row: id.to_string(), what };
                lines.push(line_of(row, names).map_err(broken)?);
            }
        }
        Ok(lines)
    }

    async fn all_peers(
        &self,
        connection: &mut SqliteConnection,
        names: &TenantNames,
    ) -> Result<Vec<Peer>, StoreError> {
        let failed = self.site_database().failed();
        let rows = sqlx::query(ALL_PEERS).fetch_all(connection).await.map_err(failed)?;
        let peer = |row: &SqliteRow| {
            peer_of_row(row, names, self.key()).map_err(failed)?.map_err(|what| damaged("peers", row, what))
        };
        rows.iter().map(peer).collect()
    }
}

/// Tenants' names by their numbers.
pub(crate) type TenantNames = HashMap<i64, Box<str>>;

pub(crate) async fn generation(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let value: i64 =
        sqlx::query_scalar("SELECT value FROM node WHERE key = 'generation'").fetch_one(connection).await?;
    Ok(u64::try_from(value).unwrap_or_default())
}

/// A tenant's number.
pub(crate) async fn tenant_id(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM tenants WHERE name = ?").bind(name).fetch_optional(connection).await
}

async fn tenants(connection: &mut SqliteConnection) -> Result<(Vec<Tenant>, TenantNames), sqlx::Error> {
    let rows: Vec<(i64, Box<str>, Box<str>)> =
        sqlx::query_as("SELECT id, name, realm FROM tenants ORDER BY id").fetch_all(&mut *connection).await?;
    let domains: Vec<(i64, Box<str>)> =
        sqlx::query_as("SELECT tenant_id, domain FROM domains ORDER BY tenant_id, position")
            .fetch_all(connection)
            .await?;
    let mut by_tenant: HashMap<i64, Vec<Box<str>>> = HashMap::new();
    for (tenant, domain) in domains {
        by_tenant.entry(tenant).or_default().push(domain);
    }
    let names = rows.iter().map(|(id, name, _)| (*id, name.clone())).collect();
    let tenants = rows
        .into_iter()
        .map(|(id, name, realm)| Tenant { name, domains: by_tenant.remove(&id).unwrap_or_default(), realm })
        .collect();
    Ok((tenants, names))
}

async fn users(connection: &mut SqliteConnection, names: &TenantNames) -> Result<Vec<User>, sqlx::Error> {
    let rows: Vec<(i64, Box<str>, Option<String>)> =
        sqlx::query_as("SELECT tenant_id, name, full_name FROM users ORDER BY id")
            .fetch_all(connection)
            .await?;
    let user = |(tenant, name, full_name): (i64, _, Option<String>)| User {
        name,
        tenant: name_of(names, tenant),
        full_name: full_name.map(|name| Personal::new(name, DataSubject::Subscriber)),
    };
    Ok(rows.into_iter().map(user).collect())
}

async fn devices(connection: &mut SqliteConnection, names: &TenantNames) -> Result<Vec<Device>, sqlx::Error> {
    type DeviceRow = (i64, i64, Box<str>, Box<str>, Option<Box<str>>);
    let rows: Vec<DeviceRow> =
        sqlx::query_as("SELECT id, tenant_id, name, kind, instance FROM devices ORDER BY id")
            .fetch_all(&mut *connection)
            .await?;
    let held: Vec<(i64, Box<str>)> = sqlx::query_as(
        "SELECT device_id, lines.name FROM device_lines JOIN lines ON lines.id = line_id ORDER BY device_id, position",
    )
    .fetch_all(connection)
    .await?;
    let mut by_device: HashMap<i64, Vec<Box<str>>> = HashMap::new();
    for (device, line) in held {
        by_device.entry(device).or_default().push(line);
    }
    let device = |(id, tenant, name, kind, instance): DeviceRow| Device {
        name,
        tenant: name_of(names, tenant),
        kind,
        instance,
        lines: by_device.remove(&id).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(device).collect())
}

/// Lines that are read at once.
const LINES_PER_STRETCH: i64 = 512;

/// Lines from which on a second connection pays: opening one takes a millisecond.
const LINES_FOR_TWO: i64 = 4096;

/// The lines of a range of numbers as a JSON list of [`LineRow`], and where the next range begins.
const STRETCH_OF_LINES: &str = "SELECT json_group_array(json_array(lines.id, lines.tenant_id, lines.name, display_name, \
     users.name, enabled, password_md5, password_sha256, may_call, bindings_max, calls_max, srtp)), \
     (SELECT min(id) FROM lines WHERE id >= ?2) \
     FROM lines LEFT JOIN users ON users.id = user_id WHERE lines.id >= ?1 AND lines.id < ?2";

/// Id, tenant, name, display name, user, enabled, MD5, SHA-256, permission, bindings, calls, SRTP. Only text that people
/// write may hold an escape, and must be owned.
type LineRow<'a> =
    (i64, i64, &'a str, Option<String>, Option<&'a str>, u8, &'a str, &'a str, &'a str, u16, u16, &'a str);

/// One line, by tenant and name.
pub(crate) const ONE_LINE: &str = "SELECT lines.id, lines.tenant_id, lines.name, display_name, users.name, enabled, \
     password_md5, password_sha256, may_call, bindings_max, calls_max, srtp \
     FROM lines LEFT JOIN users ON users.id = user_id WHERE lines.tenant_id = ? AND lines.name = ?";

const PAGE_OF_LINES: &str = "SELECT lines.id, lines.tenant_id, lines.name, display_name, users.name, enabled, \
     password_md5, password_sha256, may_call, bindings_max, calls_max, srtp \
     FROM lines LEFT JOIN users ON users.id = user_id WHERE lines.tenant_id = ? AND lines.name > ? \
     ORDER BY lines.name LIMIT ?";

/// The outer error is the database's, the inner one says which column holds nonsense.
type Decoded<T> = Result<Result<T, &'static str>, sqlx::Error>;

/// Reads a row of [`ONE_LINE`] or `PAGE_OF_LINES`.
pub(crate) fn line_of_row(row: &SqliteRow, names: &TenantNames) -> Decoded<Line> {
    let values: LineRow<'_> = (
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
        row.try_get(5)?,
        row.try_get(6)?,
        row.try_get(7)?,
        row.try_get(8)?,
        row.try_get(9)?,
        row.try_get(10)?,
        row.try_get(11)?,
    );
    Ok(line_of(values, names))
}

fn line_of(row: LineRow<'_>, names: &TenantNames) -> Result<Line, &'static str> {
    let (id, tenant, name, display_name, user, enabled, md5, sha256, may_call, bindings_max, calls_max, srtp) =
        row;
    let (Ok(md5), Ok(sha256)) = (md5.as_bytes().try_into(), sha256.as_bytes().try_into()) else {
        return Err("a password hash has the wrong length");
    };
    Ok(Line {
        id: LineId(id.cast_unsigned()),
        tenant: name_of(names, tenant),
        name: name.into(),
        display_name: display_name.map(|name| Personal::new(name, DataSubject::Subscriber)),
        user: user.map(Into::into),
        enabled: enabled != 0,
        password: PasswordHashes { md5, sha256 },
        may_call: permission_of(may_call).ok_or("unknown permission")?,
        bindings_max,
        calls_max,
        srtp: Srtp::parse(srtp).ok_or("unknown SRTP mode")?,
    })
}

const ALL_PEERS: &str = "SELECT id, tenant_id, name, enabled, sources, host, port, transport, username, secret, \
     prefixes, may_call, calls_max, anchor_media, srtp FROM peers ORDER BY id";

/// One peer, by tenant and name.
pub(crate) const ONE_PEER: &str = "SELECT id, tenant_id, name, enabled, sources, host, port, transport, username, secret, \
     prefixes, may_call, calls_max, anchor_media, srtp FROM peers WHERE tenant_id = ? AND name = ?";

/// Reads a row of `ALL_PEERS` or [`ONE_PEER`].
pub(crate) fn peer_of_row(row: &SqliteRow, names: &TenantNames, key: &SecretKey) -> Decoded<Peer> {
    let tenant = name_of(names, row.try_get(1)?);
    let name: Box<str> = row.try_get(2)?;
    let Ok(sources) = serde_json::from_str::<Vec<String>>(row.try_get(4)?) else {
        return Ok(Err("the sources are no list"));
    };
    let Ok(sources) = sources.iter().map(|range| range.parse()).collect() else {
        return Ok(Err("a source is no address range"));
    };
    let Ok(prefixes) = serde_json::from_str(row.try_get(10)?) else {
        return Ok(Err("the prefixes are no list"));
    };
    let Ok(transport) = row.try_get::<Option<&str>, _>(7)?.map(str::parse).transpose() else {
        return Ok(Err("unknown transport"));
    };
    let Some(may_call) = permission_of(row.try_get(11)?) else {
        return Ok(Err("unknown permission"));
    };
    let Some(srtp) = Srtp::parse(row.try_get(14)?) else {
        return Ok(Err("unknown SRTP mode"));
    };
    let sealed: Option<&[u8]> = row.try_get(9)?;
    let Ok(secret) = sealed.map(|sealed| key.open_sealed(sealed, &secret_owner(&tenant, &name))).transpose()
    else {
        return Ok(Err("the secret does not open with this node's key"));
    };
    Ok(Ok(Peer {
        id: PeerId(row.try_get::<i64, _>(0)?.cast_unsigned()),
        name,
        tenant,
        enabled: row.try_get(3)?,
        sources,
        host: row.try_get(5)?,
        port: row.try_get(6)?,
        transport,
        username: row.try_get(8)?,
        secret,
        prefixes,
        may_call,
        calls_max: row.try_get(12)?,
        anchor_media: row.try_get(13)?,
        srtp,
    }))
}

/// What a peer's sealed secret is bound to.
pub(crate) fn secret_owner(tenant: &str, peer: &str) -> String {
    format!("{tenant}/{peer}")
}

fn permission_of(text: &str) -> Option<CallPermission> {
    match text {
        "inside" => Some(CallPermission::Inside),
        "outside" => Some(CallPermission::Outside),
        _ => None,
    }
}

/// Foreign keys make sure that the tenant is there.
fn name_of(names: &TenantNames, tenant: i64) -> Box<str> {
    names.get(&tenant).cloned().unwrap_or_default()
}

pub(crate) fn damaged(table: &'static str, row: &SqliteRow, what: &'static str) -> StoreError {
    let number: i64 = row.try_get(0).unwrap_or_default();
    StoreError::Damaged { table, row: number.to_string(), what }
}
