-- Call records and who read them. A file of its own: a record is durable in milliseconds while a large site is being
-- applied to the other one. Each column is described in src/data_map.rs.

CREATE TABLE records (
    id          TEXT PRIMARY KEY,
    tenant      TEXT NOT NULL,
    caller      TEXT NOT NULL,
    caller_name TEXT,
    callee      TEXT NOT NULL,
    started     INTEGER NOT NULL,
    ringing     INTEGER,
    answered    INTEGER,
    ended       INTEGER NOT NULL,
    talk_ms     INTEGER NOT NULL,
    ended_by    TEXT NOT NULL,
    cause       TEXT NOT NULL,
    sip_status  INTEGER NOT NULL,
    q850        INTEGER NOT NULL,
    legs        TEXT NOT NULL -- JSON, src/record_row.rs
-- With a rowid: without one, a row of this size would spill to a page of its own.
) STRICT;
CREATE INDEX records_by_time ON records (started);
CREATE INDEX records_by_caller ON records (caller, started);
CREATE INDEX records_by_callee ON records (callee, started);
CREATE INDEX records_by_cause ON records (cause, started);
CREATE INDEX records_by_talk ON records (talk_ms);

-- The lines that took part, one row each: what a line's holder may ask for.
CREATE TABLE record_lines (
    tenant    TEXT NOT NULL,
    line      TEXT NOT NULL,
    started   INTEGER NOT NULL,
    record_id TEXT NOT NULL,
    PRIMARY KEY (line, tenant, started, record_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER lines_of_removed_record AFTER DELETE ON records BEGIN
    DELETE FROM record_lines WHERE (line, tenant, started, record_id) IN
        (SELECT value ->> 'line', OLD.tenant, OLD.started, OLD.id FROM json_each(OLD.legs));
END;

-- Every read of records. Each row's chain is the SHA-256 of the one before and its own content.
CREATE TABLE access_log (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    reason TEXT NOT NULL,
    action TEXT NOT NULL,
    filter TEXT NOT NULL,
    rows   INTEGER NOT NULL,
    chain  BLOB NOT NULL
) STRICT;
