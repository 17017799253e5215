-- Which rows of a table have changed, each at the number of its latest change. Statements are parted by empty lines.
CREATE TABLE IF NOT EXISTS nerv_feeds (source TEXT PRIMARY KEY, epoch TEXT NOT NULL, sequence INTEGER NOT NULL)

CREATE TABLE IF NOT EXISTS nerv_changes (source TEXT, key TEXT, at INTEGER NOT NULL, PRIMARY KEY (source, key)) WITHOUT ROWID

CREATE INDEX IF NOT EXISTS nerv_changes_at ON nerv_changes (source, at)

DROP TRIGGER IF EXISTS {insert}

DROP TRIGGER IF EXISTS {update}

DROP TRIGGER IF EXISTS {delete}

CREATE TRIGGER {insert} AFTER INSERT ON {table} BEGIN
  UPDATE nerv_feeds SET sequence = sequence + 1 WHERE source = {source};
  DELETE FROM nerv_changes WHERE source = {source} AND key = json_array({new});
  INSERT INTO nerv_changes SELECT {source}, json_array({new}), sequence FROM nerv_feeds WHERE source = {source};
END

CREATE TRIGGER {update} AFTER UPDATE ON {table} BEGIN
  UPDATE nerv_feeds SET sequence = sequence + 1 WHERE source = {source};
  DELETE FROM nerv_changes WHERE source = {source} AND key IN (json_array({new}), json_array({old}));
  INSERT INTO nerv_changes SELECT {source}, json_array({new}), sequence FROM nerv_feeds WHERE source = {source};
  INSERT INTO nerv_changes SELECT {source}, json_array({old}), sequence FROM nerv_feeds
    WHERE source = {source} AND json_array({old}) <> json_array({new});
END

CREATE TRIGGER {delete} AFTER DELETE ON {table} BEGIN
  UPDATE nerv_feeds SET sequence = sequence + 1 WHERE source = {source};
  DELETE FROM nerv_changes WHERE source = {source} AND key = json_array({old});
  INSERT INTO nerv_changes SELECT {source}, json_array({old}), sequence FROM nerv_feeds WHERE source = {source};
END

DELETE FROM nerv_changes WHERE source = {source}

INSERT INTO nerv_feeds VALUES ({source}, lower(hex(randomblob(16))), 0)
  ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = 0
