-- Who acts on an environment now. The advisory lock is the fence; this row tells about it.
CREATE TABLE environment (
    name         text PRIMARY KEY,
    epoch        bigint NOT NULL DEFAULT 0,
    run_id       text,
    backend_pid  integer,
    activity     text,
    since        timestamptz,
    beat_at      timestamptz,
    wanted_by    text
);

CREATE TABLE run (
    id            text PRIMARY KEY,
    procedure     text NOT NULL,
    environment   text NOT NULL,
    parameters    jsonb NOT NULL,
    requested_by  text NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    ending        text,
    message       text
);
CREATE INDEX run_environment ON run (environment, started_at);

-- Undos written down before the change that they undo.
CREATE TABLE armed_undo (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       text NOT NULL REFERENCES run,
    environment  text NOT NULL,
    undo         text NOT NULL,
    parameters   jsonb NOT NULL,
    armed_at     timestamptz NOT NULL DEFAULT now(),
    state        text NOT NULL DEFAULT 'armed' CHECK (state IN ('armed', 'disarmed', 'undone', 'failed')),
    ended_at     timestamptz,
    message      text
);
CREATE INDEX armed_undo_open ON armed_undo (environment, id) WHERE state IN ('armed', 'failed');

-- What happened, each row chained to the one before it by its hash.
CREATE TABLE audit (
    sequence     bigint PRIMARY KEY,
    at           text NOT NULL,
    run_id       text NOT NULL,
    environment  text NOT NULL,
    actor        text NOT NULL,
    event        text NOT NULL,
    detail       jsonb NOT NULL,
    previous     text NOT NULL,
    hash         text NOT NULL
);
CREATE INDEX audit_run ON audit (run_id, sequence);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
