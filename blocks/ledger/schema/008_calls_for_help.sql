-- Few of all runs need a human, or keep visitors out; the supervisor asks for them every few seconds.
CREATE INDEX run_needs_a_human ON run (ended_at) WHERE ending = 'Needs a human';
CREATE INDEX audit_page_sent ON audit (run_id) WHERE event = 'page sent';
CREATE INDEX audit_incident_opened ON audit (run_id) WHERE event = 'incident opened';
