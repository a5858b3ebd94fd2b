//! The tables of durable work, and the words in them.
//!
//! Every index but that of the ids is partial: what has ended is in the one that `prune` walks and in no
//! other, so a long history costs a claim nothing. No lease's end is in an index: a renewal changes one row
//! in its place, and those that run are few enough to look through.
//!
//! An index that a job enters is paid for with every job. So those that wait have one: it ends with the
//! plugin, which is not needed to find them and lets a plugin's be counted without a look at the others.
//!
//! Columns of one width and never empty come first, then what is in indexes: an update compares all of the
//! latter with what was there, and reaches each by walking over those before it.
//!
//! Constraints that no two jobs break together are left out: the server reads each of them anew for every
//! statement, and whoever reads a row judges it anyway.

/// Made beside the other tables of the core schema.
pub(in crate::postgres) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS kodex.jobs (
        added_at_ms bigint NOT NULL,
        due_at_ms bigint NOT NULL,
        attempt bigint NOT NULL DEFAULT 0,
        max_attempts bigint NOT NULL,
        n_crashes bigint NOT NULL DEFAULT 0,
        n_slices bigint NOT NULL DEFAULT 0,
        generation bigint NOT NULL DEFAULT 0,
        token bigint NOT NULL DEFAULT 0,
        priority smallint NOT NULL,
        cancel boolean NOT NULL DEFAULT false,
        id text COLLATE \"C\" PRIMARY KEY,
        state text COLLATE \"C\" NOT NULL,
        queue text COLLATE \"C\" NOT NULL,
        plugin text COLLATE \"C\" NOT NULL,
        lane text COLLATE \"C\",
        unique_key text COLLATE \"C\",
        expires_at_ms bigint,
        ended_at_ms bigint,
        started_at_ms bigint,
        until_ms bigint,
        max_age_ms bigint,
        name text COLLATE \"C\" NOT NULL,
        holder text,
        payload text NOT NULL,
        checkpoint text,
        result text,
        reason_code text,
        reason text
    );
    CREATE INDEX IF NOT EXISTS jobs_due ON kodex.jobs (queue, priority, due_at_ms, id, plugin)
        WHERE state = 'pending';
    CREATE INDEX IF NOT EXISTS jobs_lane ON kodex.jobs (lane, priority, due_at_ms, id)
        WHERE state = 'pending' AND lane IS NOT NULL;
    CREATE INDEX IF NOT EXISTS jobs_running ON kodex.jobs (plugin, queue) WHERE state = 'running';
    CREATE UNIQUE INDEX IF NOT EXISTS jobs_lane_running ON kodex.jobs (lane)
        WHERE state = 'running' AND lane IS NOT NULL;
    CREATE UNIQUE INDEX IF NOT EXISTS jobs_unique ON kodex.jobs (plugin, queue, unique_key)
        WHERE state IN ('pending', 'running') AND unique_key IS NOT NULL;
    CREATE INDEX IF NOT EXISTS jobs_expiry ON kodex.jobs (expires_at_ms)
        WHERE state IN ('pending', 'blocked') AND expires_at_ms IS NOT NULL;
    CREATE INDEX IF NOT EXISTS jobs_ended ON kodex.jobs (ended_at_ms) WHERE ended_at_ms IS NOT NULL;
    CREATE TABLE IF NOT EXISTS kodex.job_caps (
        plugin text COLLATE \"C\" PRIMARY KEY
    );
    CREATE TABLE IF NOT EXISTS kodex.job_effects (
        job_id text COLLATE \"C\" NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        value text NOT NULL,
        PRIMARY KEY (job_id, key)
    );
    CREATE TABLE IF NOT EXISTS kodex.job_logs (
        job_id text COLLATE \"C\" PRIMARY KEY,
        n_lines bigint NOT NULL,
        n_bytes bigint NOT NULL,
        tail_from bigint
    );
    CREATE TABLE IF NOT EXISTS kodex.job_lines (
        job_id text COLLATE \"C\" NOT NULL,
        number bigint NOT NULL,
        at_ms bigint NOT NULL,
        stream text COLLATE \"C\" NOT NULL,
        begins_at bigint NOT NULL,
        text text NOT NULL,
        PRIMARY KEY (job_id, number)
    )";

/// What [`super::row::job`] reads, in its order.
pub(super) const COLUMNS: &str = "j.id, j.queue, j.plugin, j.name, j.lane, j.unique_key, j.priority, j.state, \
     j.payload, j.checkpoint, j.result, j.reason_code, j.reason, j.added_at_ms, j.due_at_ms, \
     j.expires_at_ms, j.started_at_ms, j.ended_at_ms, j.attempt, j.max_attempts, j.n_crashes, \
     j.n_slices, j.generation, j.token, j.holder, j.until_ms, j.cancel";

/// Where jobs are that never change again by themselves.
pub(super) const OVER: &str = "state IN ('completed', 'failed', 'dead', 'cancelled')";

/// The time, once per statement: the first parameter of every statement here is the reading of the store's
/// clock, if it has one.
pub(super) const TIME: &str = "t AS (SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now)";

/// The same inside an expression, for statements of one look: it needs no table of its own.
pub(super) const NOW: &str =
    "coalesce($1::bigint, (date_part('epoch', statement_timestamp()) * 1000)::bigint)";

/// A job runs: said in a way that hides it from the index of what runs, so that the ids lead to the row, however few
/// jobs ran when the plan was made.
pub(super) const RUNS: &str = "j.state || '' = 'running'";

/// What is said about a job that was asked to end and did not say why it ended.
pub(super) const ASKED: &str = "somebody asked for its end";
