-- A rotation that is under way, and what its way back needs. Its row goes when it has come to its end.
CREATE TABLE rotation (
    run_id       text PRIMARY KEY REFERENCES run,
    environment  text NOT NULL,
    -- What is no secret.
    before       jsonb NOT NULL,
    -- The old values, encrypted with a key that no database holds.
    sealed       text NOT NULL,
    opened_at    timestamptz NOT NULL DEFAULT now()
);
