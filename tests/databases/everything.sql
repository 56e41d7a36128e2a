-- One of everything that a dump has to bring back.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE address AS (street text, number int);

CREATE TABLE customer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    feels mood DEFAULT 'ok',
    done percent,
    lives address,
    tags text[],
    grid int[][],
    detail jsonb,
    photo bytea,
    born date,
    seen timestamptz,
    waited interval,
    weight numeric(20, 10),
    share double precision,
    shouted text GENERATED ALWAYS AS (upper(name)) STORED,
    referred_by bigint REFERENCES customer
);
INSERT INTO customer (name, feels, done, lives, tags, grid, detail, photo, born, seen, waited, weight, share, referred_by)
SELECT 'customer ' || n, (ARRAY['sad', 'ok', 'glad'])[1 + n % 3]::mood, n % 101, ROW('Street "' || n || '"', n)::address,
       ARRAY['a,b', NULL, E'tab\t', E'line\nbreak', E'\\.'], ARRAY[[n, 1], [2, 3]],
       jsonb_build_object('n', n, 'text', E'quote " and \\ backslash', 'none', NULL),
       decode(md5(n::text), 'hex'), date '2000-02-29' + n, timestamptz '2020-03-29 01:30:00+00' + n * interval '1 hour',
       interval '1 year 2 mons -3 days 04:05:06.789', n / 3.0, sqrt(n), CASE WHEN n > 1 THEN n - 1 END
FROM generate_series(1, 500) n;
INSERT INTO customer (name, share, detail) VALUES ('ünïcødé ☃ 漢字', 'NaN', '[]'), ('', '-Infinity', 'null');
COMMENT ON TABLE customer IS 'Who buys; "quoted" and ''apostrophe''';
COMMENT ON COLUMN customer.done IS 'in percent';
CREATE INDEX customer_detail ON customer USING gin (detail);
CREATE UNIQUE INDEX customer_lower ON customer (lower(name)) WHERE name <> '';
ALTER TABLE customer DROP COLUMN born;
ALTER TABLE customer ADD COLUMN late text DEFAULT 'late';

CREATE TABLE hen (id serial PRIMARY KEY, egg int);
CREATE TABLE egg (id serial PRIMARY KEY, hen int REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
INSERT INTO hen (egg) SELECT n FROM generate_series(1, 20) n;
INSERT INTO egg (hen) SELECT n FROM generate_series(1, 20) n;
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;

CREATE SEQUENCE never_asked START 7;
CREATE SEQUENCE descending INCREMENT -3 MAXVALUE 100 START 100;
SELECT nextval('descending'), nextval('descending');

CREATE TABLE visit (at date NOT NULL, page text) PARTITION BY RANGE (at);
CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (page);
CREATE TABLE visit_2026_home PARTITION OF visit_2026 FOR VALUES IN ('home');
CREATE TABLE visit_2026_other PARTITION OF visit_2026 DEFAULT;
INSERT INTO visit SELECT date '2025-06-01' + n, CASE WHEN n % 2 = 0 THEN 'home' ELSE 'page ' || n END
FROM generate_series(0, 400) n;
CREATE TABLE parent (a int);
CREATE TABLE child (b int) INHERITS (parent);
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (2, 3);

CREATE SCHEMA "Mixed Case";
CREATE TABLE "Mixed Case"."Or""der
 of; -- things" ("Select" int PRIMARY KEY, "wi th ""quotes""" text, "new
line" text);
INSERT INTO "Mixed Case"."Or""der
 of; -- things" VALUES (1, 'x', 'y'), (2, NULL, '');
CREATE TABLE "Mixed Case".customer (id int);
INSERT INTO "Mixed Case".customer VALUES (42);
CREATE TABLE empty (id int, word text);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE no_key (word text);
INSERT INTO no_key SELECT 'same' FROM generate_series(1, 30);
CREATE UNLOGGED TABLE forgetful (word text);
INSERT INTO forgetful VALUES ('still here');

CREATE TABLE large (id int PRIMARY KEY, content text);
ALTER TABLE large ALTER content SET STORAGE EXTERNAL;
INSERT INTO large SELECT n, repeat(md5(n::text), 2000) FROM generate_series(1, 100) n;
CREATE TABLE larger (content text);
INSERT INTO larger SELECT repeat(md5(n::text), 5) FROM generate_series(1, 40000) n;

CREATE VIEW glad AS SELECT id, name FROM customer WHERE feels = 'glad';
CREATE MATERIALIZED VIEW moods AS SELECT feels, count(*) AS people FROM customer GROUP BY feels;
CREATE UNIQUE INDEX ON moods (feels);
CREATE FUNCTION add_one(i int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT i + 1 $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.late := 'stamped'; RETURN NEW; END $$;
CREATE TRIGGER stamps BEFORE INSERT OR UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE hen ADD COLUMN next int GENERATED ALWAYS AS (add_one(id)) STORED;

CREATE TABLE private (owner name, word text);
INSERT INTO private VALUES ('ada', 'hers'), ('bob', 'his');
ALTER TABLE private ENABLE ROW LEVEL SECURITY;
ALTER TABLE private FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON private USING (owner = current_user);

GRANT SELECT ON customer TO everything_reader;
GRANT USAGE ON SCHEMA "Mixed Case" TO everything_reader;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO everything_reader;
ALTER TABLE no_key OWNER TO everything_reader;

SELECT lo_from_bytea(0, decode(repeat(md5(n::text), 100), 'hex')) FROM generate_series(1, 12) n;

CREATE PUBLICATION news FOR TABLE customer (id, name), hen WITH (publish = 'insert, update');
