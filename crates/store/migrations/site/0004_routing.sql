-- What was said of where calls go; the highest version holds: offhook_switch::routing.
CREATE TABLE routing_versions (
    version  INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    who      TEXT NOT NULL,
    note     TEXT NOT NULL, -- why, for people
    document TEXT NOT NULL  -- TOML
) STRICT;

-- Tables of prefixes, as they were sent.
CREATE TABLE routing_tables (
    tenant  TEXT NOT NULL,
    name    TEXT NOT NULL,
    change  INTEGER NOT NULL, -- the generation that it came with
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    lines   INTEGER NOT NULL,
    content TEXT NOT NULL,    -- prefix,peer or set[,price]
    PRIMARY KEY (tenant, name)
) STRICT;
