-- Few of all runs are open; the supervisor asks for them every second.
CREATE INDEX run_open ON run (id) WHERE ending IS NULL;
