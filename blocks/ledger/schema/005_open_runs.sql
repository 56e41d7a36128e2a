-- Few of all runs are open; the supervisor asks for them every few seconds.
CREATE INDEX run_open ON run (id) WHERE ending IS NULL;
