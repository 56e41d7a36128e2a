-- The holder's process, so that whoever looks from the same machine sees at once that it died.
-- Empty where its system cannot name one.
ALTER TABLE environment ADD COLUMN process text NOT NULL DEFAULT '';
