-- The plugin makes the ids, so that the same text runs on SQLite and Postgres.
CREATE TABLE notes (
    id TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    added_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX notes_by_age ON notes (added_at);
