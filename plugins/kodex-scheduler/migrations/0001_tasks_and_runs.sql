-- Tasks and their runs. The record is the truth; the columns beside it are what it is found by.
-- Both engines run this text: integers are BIGINT, records are texts of JSON.

CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    -- Kind and address of the conversation, as one JSON text.
    destination TEXT NOT NULL,
    status TEXT NOT NULL,
    -- When the heartbeat looks at the task next; none for one that waits for a person.
    attend_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    -- Equal for tasks that are the same.
    fingerprint TEXT NOT NULL,
    -- The release of the zone data that the next run was reckoned with.
    zone_data TEXT NOT NULL,
    -- Rises with every change, so that nobody overwrites what they have not seen.
    revision BIGINT NOT NULL,
    -- Set apart because the record does not read.
    malformed_at_ms BIGINT,
    record TEXT NOT NULL
);

CREATE INDEX tasks_due ON tasks (attend_at_ms, id) WHERE attend_at_ms IS NOT NULL;
CREATE INDEX tasks_here ON tasks (destination, created_at_ms, id) WHERE status <> 'deleted';
CREATE INDEX tasks_alike ON tasks (fingerprint, created_at_ms, id) WHERE status = 'active';
CREATE INDEX tasks_by_status ON tasks (status, attend_at_ms);
CREATE INDEX tasks_malformed ON tasks (malformed_at_ms) WHERE malformed_at_ms IS NOT NULL;

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    scheduled_for_ms BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    status TEXT NOT NULL,
    -- When it was claimed or started, and in which attempt: what a change must know to be allowed.
    token_at_ms BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    -- When somebody last looked after it.
    seen_at_ms BIGINT NOT NULL,
    malformed_at_ms BIGINT,
    record TEXT NOT NULL
);

CREATE UNIQUE INDEX runs_occurrence ON runs (task_id, scheduled_for_ms, generation);
CREATE INDEX runs_open ON runs (status, seen_at_ms, id) WHERE status IN ('pending', 'running');
CREATE INDEX runs_open_of_task ON runs (task_id) WHERE status IN ('pending', 'running');
CREATE INDEX runs_over ON runs (seen_at_ms) WHERE status NOT IN ('pending', 'running');
CREATE INDEX runs_malformed ON runs (malformed_at_ms) WHERE malformed_at_ms IS NOT NULL;

-- One row that every heartbeat changes first, so that heartbeats on several nodes take turns.
CREATE TABLE turns (
    name TEXT PRIMARY KEY,
    n_taken BIGINT NOT NULL
);
INSERT INTO turns (name, n_taken) VALUES ('heartbeat', 0);

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
