-- What is configured, who is registered, who may use the API. Names of people and addresses are personal data:
-- each column is described in src/data_map.rs.

CREATE TABLE node (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO node (key, value) VALUES ('generation', 0);

-- AUTOINCREMENT throughout: a number of the past must never mean another line or peer.
CREATE TABLE tenants (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    name  TEXT NOT NULL UNIQUE,
    realm TEXT NOT NULL
) STRICT;
INSERT INTO tenants (name, realm) VALUES ('default', 'offhook');

CREATE TABLE domains (
    domain    TEXT PRIMARY KEY,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name      TEXT NOT NULL,
    full_name TEXT,
    UNIQUE (tenant_id, name)
) STRICT;

CREATE TABLE lines (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id       INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    display_name    TEXT,
    user_id         INTEGER REFERENCES users (id) ON DELETE SET NULL,
    enabled         INTEGER NOT NULL,
    password_md5    TEXT NOT NULL,
    password_sha256 TEXT NOT NULL,
    may_call        TEXT NOT NULL,
    bindings_max    INTEGER NOT NULL,
    calls_max       INTEGER NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT;
CREATE INDEX lines_of_user ON lines (user_id) WHERE user_id IS NOT NULL;

CREATE TABLE devices (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    instance  TEXT,
    UNIQUE (tenant_id, name)
) STRICT;

CREATE TABLE device_lines (
    device_id INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    line_id   INTEGER NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    PRIMARY KEY (device_id, line_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_of_line ON device_lines (line_id);

CREATE TABLE peers (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id    INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    enabled      INTEGER NOT NULL,
    sources      TEXT NOT NULL, -- JSON list of address ranges
    host         TEXT,
    port         INTEGER,
    transport    TEXT,
    username     TEXT,
    secret       BLOB,          -- nonce, AES-256-GCM ciphertext and tag
    prefixes     TEXT NOT NULL, -- JSON list
    may_call     TEXT NOT NULL,
    calls_max    INTEGER NOT NULL,
    anchor_media INTEGER NOT NULL,
    UNIQUE (tenant_id, name)
) STRICT;

-- No foreign key to lines: a binding saved a moment after its line was removed must not fail its whole batch. The
-- trigger and the clean-up before loading keep the table right.
CREATE TABLE bindings (
    line_id INTEGER NOT NULL,
    key     TEXT NOT NULL,
    expires INTEGER NOT NULL,
    binding TEXT NOT NULL, -- JSON, offhook_switch::fact::StoredBinding
    PRIMARY KEY (line_id, key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER bindings_of_removed_line AFTER DELETE ON lines BEGIN
    DELETE FROM bindings WHERE line_id = OLD.id;
END;

CREATE TABLE tokens (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL UNIQUE,
    role    TEXT NOT NULL,
    hash    BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT;

-- Who changed what kind of thing, and when: no values, no secrets.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    action     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL,
    fields     TEXT NOT NULL, -- names of changed fields, comma-separated
    generation INTEGER NOT NULL
) STRICT;
