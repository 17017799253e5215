-- Which rows of a table have changed, each at the id of the transaction that changed it last. Statements are parted by empty lines.
SELECT pg_advisory_xact_lock(hashtext('nerv_feeds'))

CREATE TABLE IF NOT EXISTS nerv_feeds (source text PRIMARY KEY, epoch text NOT NULL)

CREATE TABLE IF NOT EXISTS nerv_changes (source text, key text, at bigint NOT NULL, PRIMARY KEY (source, key))

CREATE INDEX IF NOT EXISTS nerv_changes_at ON nerv_changes (source, at)

CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    DELETE FROM nerv_changes WHERE source = TG_ARGV[0];
    UPDATE nerv_feeds SET epoch = gen_random_uuid()::text WHERE source = TG_ARGV[0];
    RETURN NULL;
  END IF;
  IF TG_OP IN ('INSERT', 'UPDATE') THEN
    INSERT INTO nerv_changes
      SELECT DISTINCT TG_ARGV[0], json_build_array({columns})::text, pg_current_xact_id()::text::bigint FROM nerv_new ORDER BY 2
      ON CONFLICT (source, key) DO UPDATE SET at = excluded.at;
  END IF;
  IF TG_OP IN ('UPDATE', 'DELETE') THEN
    INSERT INTO nerv_changes
      SELECT DISTINCT TG_ARGV[0], json_build_array({columns})::text, pg_current_xact_id()::text::bigint FROM nerv_old ORDER BY 2
      ON CONFLICT (source, key) DO UPDATE SET at = excluded.at;
  END IF;
  RETURN NULL;
END $$

DROP TRIGGER IF EXISTS nerv_note_insert ON {table}

DROP TRIGGER IF EXISTS nerv_note_update ON {table}

DROP TRIGGER IF EXISTS nerv_note_delete ON {table}

DROP TRIGGER IF EXISTS nerv_note_truncate ON {table}

CREATE TRIGGER nerv_note_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS nerv_new
  FOR EACH STATEMENT EXECUTE FUNCTION {function}({source})

CREATE TRIGGER nerv_note_update AFTER UPDATE ON {table} REFERENCING OLD TABLE AS nerv_old NEW TABLE AS nerv_new
  FOR EACH STATEMENT EXECUTE FUNCTION {function}({source})

CREATE TRIGGER nerv_note_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS nerv_old
  FOR EACH STATEMENT EXECUTE FUNCTION {function}({source})

CREATE TRIGGER nerv_note_truncate AFTER TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {function}({source})

ALTER TABLE {table} ENABLE ALWAYS TRIGGER nerv_note_insert

ALTER TABLE {table} ENABLE ALWAYS TRIGGER nerv_note_update

ALTER TABLE {table} ENABLE ALWAYS TRIGGER nerv_note_delete

ALTER TABLE {table} ENABLE ALWAYS TRIGGER nerv_note_truncate

DELETE FROM nerv_changes WHERE source = {source}

INSERT INTO nerv_feeds VALUES ({source}, gen_random_uuid()::text) ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch
