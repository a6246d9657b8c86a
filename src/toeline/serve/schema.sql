-- The store of the review service. Events are the truth of what people decided; the now_* columns of findings are what
-- they come to (decisions.py), kept so that a hundred thousand findings can be filtered and sorted; `toeline serve check` compares both.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE inspections (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, folder TEXT NOT NULL, run TEXT NOT NULL, run_sha256 TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL, taxonomy_sha256 TEXT NOT NULL, finished TEXT NOT NULL, imported TEXT NOT NULL, last_event INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE photos (
    id INTEGER PRIMARY KEY, inspection INTEGER NOT NULL REFERENCES inspections, name TEXT NOT NULL, path TEXT NOT NULL,
    bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, record TEXT NOT NULL,
    UNIQUE (inspection, name)
);

CREATE TABLE findings (
    id INTEGER PRIMARY KEY, inspection INTEGER NOT NULL REFERENCES inspections, photo INTEGER NOT NULL REFERENCES photos,
    object TEXT NOT NULL, type TEXT NOT NULL, class TEXT NOT NULL, condition TEXT NOT NULL, probability REAL NOT NULL,
    probabilities TEXT NOT NULL, confidence REAL NOT NULL, severity TEXT NOT NULL, severity_rank INTEGER NOT NULL,
    action TEXT NOT NULL, immediate TEXT NOT NULL, review INTEGER NOT NULL, review_reason TEXT NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    latitude REAL, longitude REAL, accuracy_m REAL, same TEXT NOT NULL DEFAULT '', added INTEGER NOT NULL DEFAULT 0,
    urgent REAL NOT NULL, doubt REAL NOT NULL, disagree REAL NOT NULL, alike REAL NOT NULL,
    version INTEGER NOT NULL DEFAULT 0, decided INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0, now_event INTEGER NOT NULL DEFAULT 0, now_action TEXT NOT NULL DEFAULT '',
    now_class TEXT NOT NULL, now_condition TEXT NOT NULL, now_box TEXT, now_user TEXT NOT NULL DEFAULT '',
    now_time TEXT NOT NULL DEFAULT '', now_seconds REAL NOT NULL DEFAULT 0,
    UNIQUE (photo, object)
);
-- One for each order, with what lists are filtered by: a page is found without reading a row that is not on it.
CREATE INDEX findings_urgent ON findings (removed, decided, skipped, urgent, type, review, severity, inspection);
CREATE INDEX findings_doubt ON findings (removed, decided, skipped, doubt, type, review, severity, inspection);
CREATE INDEX findings_disagree ON findings (removed, decided, skipped, disagree, type, review, severity, inspection);
CREATE INDEX findings_alike ON findings (removed, decided, skipped, alike, type, review, severity, inspection);
CREATE INDEX findings_photo ON findings (removed, decided, skipped, photo, type, review, severity, inspection);
CREATE INDEX findings_same ON findings (same) WHERE same != '';
CREATE INDEX findings_of ON findings (inspection, removed, decided, skipped, type, now_action);
-- Counting a filter, and progress, read this index and no row.
CREATE INDEX findings_counted ON findings (
    removed, decided, type, skipped, now_action, review, severity, inspection, now_class, now_condition, now_user
);
CREATE INDEX findings_object ON findings (object);

-- The line of findings.jsonl, for exports; apart, so that a scan of the findings stays small.
CREATE TABLE records (finding INTEGER PRIMARY KEY REFERENCES findings, record TEXT NOT NULL);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, user TEXT NOT NULL, finding INTEGER, action TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL, box TEXT, seconds REAL NOT NULL, model TEXT NOT NULL, undoes INTEGER UNIQUE,
    key TEXT, asked TEXT NOT NULL, more TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL,
    UNIQUE (user, key)
);
CREATE INDEX events_finding ON events (finding);
CREATE INDEX events_user ON events (user, id);
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- What holds of each finding: its events, less those that were undone.
CREATE VIEW standing AS
    SELECT e.* FROM events e
    WHERE e.undoes IS NULL AND e.action IN ('confirm', 'change', 'reject', 'unsure', 'skip', 'box', 'add')
      AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.id);

CREATE TABLE blind (finding INTEGER PRIMARY KEY REFERENCES findings, drawn TEXT NOT NULL, event INTEGER NOT NULL);

CREATE TABLE signoffs (
    id INTEGER PRIMARY KEY, inspection INTEGER NOT NULL REFERENCES inspections, event INTEGER NOT NULL REFERENCES events,
    user TEXT NOT NULL, name TEXT NOT NULL, note TEXT NOT NULL, time TEXT NOT NULL, chain TEXT NOT NULL, sha256 TEXT NOT NULL,
    open INTEGER NOT NULL, page BLOB NOT NULL
);
CREATE TRIGGER signoffs_stay BEFORE UPDATE ON signoffs BEGIN SELECT RAISE(ABORT, 'sign-offs are append-only'); END;
CREATE TRIGGER signoffs_last BEFORE DELETE ON signoffs BEGIN SELECT RAISE(ABORT, 'sign-offs are append-only'); END;

CREATE TABLE users (name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    secret TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users ON DELETE CASCADE, csrf TEXT NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE tokens (
    secret TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users ON DELETE CASCADE, note TEXT NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE attempts (who TEXT NOT NULL, time REAL NOT NULL);
CREATE INDEX attempts_who ON attempts (who, time);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, user TEXT NOT NULL, photos TEXT NOT NULL, state TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0, findings INTEGER NOT NULL DEFAULT 0, problems INTEGER NOT NULL DEFAULT 0, created TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '', inspection INTEGER, cancel INTEGER NOT NULL DEFAULT 0
);
