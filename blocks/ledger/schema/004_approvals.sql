-- Who may be asked, and the seed of their one-time codes, encrypted with a key that no database holds.
CREATE TABLE approver (
    name         text PRIMARY KEY CHECK (name = lower(name)),
    seed         text NOT NULL,
    -- Time step of the newest code that was accepted: no code counts twice.
    last_step    bigint NOT NULL DEFAULT 0,
    enrolled_at  timestamptz NOT NULL DEFAULT now()
);

-- One plan of one run, put to its environment's approvers.
CREATE TABLE approval_request (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id        text NOT NULL REFERENCES run,
    fingerprint   text NOT NULL,
    -- As json: what people read keeps its order.
    question      json NOT NULL,
    needed        integer NOT NULL CHECK (needed > 0),
    -- Nobody in particular: whoever is enrolled.
    approvers     text[] NOT NULL,
    break_glass   boolean NOT NULL,
    -- Until when and why breaking the glass is the only way.
    frozen        text NOT NULL DEFAULT '',
    asked_at      timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    -- How often its form was shown: the form that is open now has this number.
    forms         integer NOT NULL DEFAULT 0,
    state         text NOT NULL DEFAULT 'open'
                  CHECK (state IN ('open', 'approved', 'rejected', 'expired', 'withdrawn', 'superseded', 'used')),
    closed_at     timestamptz
);
CREATE INDEX approval_request_run ON approval_request (run_id, id);
CREATE UNIQUE INDEX approval_request_pending ON approval_request (run_id) WHERE closed_at IS NULL;

-- Answers that proved nobody: too many of them slow a run's form down.
CREATE TABLE refused_answer (
    request_id  bigint NOT NULL REFERENCES approval_request,
    source      text NOT NULL CHECK (source IN ('form', 'terminal')),
    refused_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refused_answer_at ON refused_answer (refused_at);

CREATE TABLE approval_decision (
    request_id  bigint NOT NULL REFERENCES approval_request,
    approver    text NOT NULL,
    verdict     text NOT NULL CHECK (verdict IN ('approve', 'reject', 'break glass')),
    reason      text NOT NULL,
    source      text NOT NULL CHECK (source IN ('form', 'terminal')),
    decided_at  timestamptz NOT NULL DEFAULT now(),
    -- Binds it to this request, plan and person; made with the key of the seeds.
    seal        text NOT NULL,
    PRIMARY KEY (request_id, approver)
);

-- Of all parameters, whole: those of a run that goes on after an approval must be the same.
ALTER TABLE run ADD COLUMN parameters_sha256 text NOT NULL DEFAULT '';
