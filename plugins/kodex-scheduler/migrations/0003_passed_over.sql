-- What became of occurrences that never had a run: passed over by the task's policy, by people, or because
-- nobody was there. Written with the step that passes them over.
--
-- Each occurrence has a row of its own, up to a bound in one step; behind it one row stands for all others of
-- the step, and says how many they are.

CREATE TABLE passed (
    task_id TEXT NOT NULL,
    first_ms BIGINT NOT NULL,
    -- The same as the first, in a row for one occurrence.
    last_ms BIGINT NOT NULL,
    n BIGINT NOT NULL,
    -- 'missed' or 'skipped', which follows from the reason.
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    noted_at_ms BIGINT NOT NULL,
    PRIMARY KEY (task_id, first_ms)
);

CREATE INDEX passed_latest ON passed (noted_at_ms, first_ms);

-- The same counted since the task was made. Rows are forgotten after a time, numbers are not.
CREATE TABLE tallies (
    task_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (task_id, reason)
);
