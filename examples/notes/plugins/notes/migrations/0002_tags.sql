CREATE TABLE tags (
    note TEXT NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (note, tag)
);

CREATE INDEX tags_by_tag ON tags (tag);
