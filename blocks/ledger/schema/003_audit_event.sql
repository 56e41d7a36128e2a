-- For what `status` asks of the trail.
CREATE INDEX audit_event ON audit (environment, event);
