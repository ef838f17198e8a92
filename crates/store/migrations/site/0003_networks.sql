-- Networks that operators let in or keep out: offhook_edge::Lists.
CREATE TABLE networks (
    network TEXT PRIMARY KEY, -- as offhook_edge::Prefix::to_text writes it
    verdict TEXT NOT NULL,    -- allow or deny
    note    TEXT NOT NULL,
    since   INTEGER NOT NULL,
    who     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
