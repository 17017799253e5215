-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE IF NOT EXISTS events (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  category TEXT NOT NULL,
  version INTEGER NOT NULL,
  id TEXT NOT NULL,
  digest BLOB NOT NULL,
  type TEXT NOT NULL,
  time_us INTEGER NOT NULL,
  recorded_us INTEGER NOT NULL,
  event BLOB NOT NULL, -- nerv.api.event.v1.Event
  UNIQUE (stream, version),
  UNIQUE (stream, id)
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_category ON events (category, position);
CREATE INDEX IF NOT EXISTS marks ON events (stream, version)
  WHERE type IN ('nerv.stream.deleted.v1', 'nerv.stream.reopened.v1', 'nerv.stream.tombstoned.v1');
-- No later event is recorded at or before this instant.
CREATE TABLE IF NOT EXISTS closing (one INTEGER PRIMARY KEY CHECK (one = 1), recorded_us INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS snapshots (
  stream TEXT NOT NULL,
  fold TEXT NOT NULL,
  version INTEGER NOT NULL,
  state BLOB NOT NULL, -- nerv.api.event.v1.VersionedState
  PRIMARY KEY (stream, fold, version)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
