-- Which lock is the environment's, so that another lock of the same session is not taken for it.
ALTER TABLE environment ADD COLUMN lock_key bigint;

-- Environments whose lock is held by the session that their row names.
CREATE VIEW holder AS
SELECT environment.*
FROM environment
JOIN pg_locks ON pid = backend_pid
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint) = lock_key;
