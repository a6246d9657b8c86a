"""Who may do what: accounts with argon2, sessions of browsers, tokens of machines, and a limit on guesses."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from itsdangerous import BadSignature, Signer

from toeline.errors import SetupError, ToelineError
from toeline.serve.decisions import LOCAL
from toeline.serve.names import typed
from toeline.serve.store import Store, now

ROLES = ("viewer", "reviewer", "engineer")  # each may what those before it may
SESSION_S = 12 * 3600
LEAST_PASSWORD, MOST_PASSWORD = 10, 200  # letters; argon2 takes longer ones, and time
WINDOW_S = 900
MOST_OF_PAIR, MOST_OF_ADDRESS, MOST_OF_NAME = 5, 30, 50  # failed log-ins within WINDOW_S
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # whoever reaches these sits at this machine


@dataclass(frozen=True)
class Who:
    """Who asks. `local` needs no account: the person at this machine. `csrf` is empty for a token."""

    name: str
    role: str
    local: bool = False
    csrf: str = ""
    session: str = ""

    def may(self, role: str) -> bool:
        """Whether this one may do what `role` may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class TooMany(ToelineError):
    """Too many wrong passwords; `seconds` until the next may be tried."""

    def __init__(self, seconds: int) -> None:
        """The message says when."""
        super().__init__(f"too many wrong passwords. Try again in {seconds} seconds.")
        self.seconds = seconds


def _hashed(secret: str) -> str:
    """How a session or a token is kept: whoever reads the store cannot use it."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Accounts:
    """The accounts of a store."""

    def __init__(self, store: Store) -> None:
        """Reads the key that signs cookies, which is the store's own."""
        self.store = store
        self._hasher = PasswordHasher()
        self._signer = Signer(store.meta("secret"), salt="toeline session")
        self._nobody = self._hasher.hash(secrets.token_hex(8))
        self._one = threading.Lock()  # guesses at once would each be allowed, and take 64 MB each

    def add(self, name: str, role: str, password: str) -> None:
        """Make an account, or give it another role and password: its sessions and tokens end. Raises SetupError."""
        if not re.fullmatch(NAME, name) or name == LOCAL:
            raise SetupError(
                f"{name!r} is no name of an account. Use letters, digits, dots and hyphens, and not '{LOCAL}'."
            )
        if role not in ROLES:
            raise SetupError(f"{role!r} is no role. Use one of {', '.join(ROLES)}.")
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise SetupError(f"a password has {LEAST_PASSWORD} to {MOST_PASSWORD} letters. Choose another one.")
        hashed = self._hasher.hash(password)
        with self.store.write() as db:
            db.execute("DELETE FROM users WHERE name = ?", [name])
            db.execute("INSERT INTO users VALUES (?, ?, ?, ?)", (name, role, hashed, now()))

    def remove(self, name: str) -> None:
        """Take an account away; its decisions stay. Raises SetupError for one that is not there."""
        with self.store.write() as db:
            if not db.execute("DELETE FROM users WHERE name = ?", [name]).rowcount:
                raise SetupError(f"{name}: there is no such account. `toeline serve user list` names them.")

    def names(self) -> list[tuple[str, str]]:
        """Names and roles."""
        return [(row["name"], row["role"]) for row in self.store.rows("SELECT name, role FROM users ORDER BY name")]

    def is_password(self, name: str, password: str) -> bool:
        """Whether it is; takes as long for a name that is not there."""
        kept = self.store.value("SELECT password FROM users WHERE name = ?", name)
        try:
            right = self._hasher.verify(kept or self._nobody, password[: MOST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return False
        return right and kept is not None

    def log_in(self, name: str, password: str, address: str) -> tuple[str, Who] | None:
        """A new session as a signed cookie, and whose it is; None for a wrong password. Raises TooMany."""
        if not self.proved(name, password, address):
            return None
        secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self.store.write() as db:
            db.execute("DELETE FROM sessions WHERE expires < ?", [time.time()])
            db.execute("DELETE FROM attempts WHERE who = ?", [f"{name} {address}"])
            db.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?)", (_hashed(secret), name, csrf, time.time() + SESSION_S)
            )
        role = self.store.value("SELECT role FROM users WHERE name = ?", name)
        return self._signer.sign(secret).decode(), Who(name, str(role), csrf=csrf, session=_hashed(secret))

    def proved(self, name: str, password: str, address: str) -> bool:
        """Whether the password is right; a wrong one counts. Raises TooMany."""
        self.require_few(name, address)  # those who guess do not hold up others
        with self._one:
            self.require_few(name, address)
            right = self.is_password(name, password)
            if not right:
                self.failed(name, address)
            return right

    def require_few(self, name: str, address: str) -> None:
        """Raise TooMany when there were too many wrong passwords for this name or from this address."""
        since = time.time() - WINDOW_S
        limits = {f"{name} {address}": MOST_OF_PAIR, f"from {address}": MOST_OF_ADDRESS, f"for {name}": MOST_OF_NAME}
        for who, most in limits.items():
            row = self.store.row("SELECT COUNT(*), MIN(time) FROM attempts WHERE who = ? AND time > ?", who, since)
            if row is not None and row[0] >= most:
                raise TooMany(max(1, int(row[1] - since) + 1))

    def failed(self, name: str, address: str) -> None:
        """Count a wrong password."""
        at = time.time()
        with self.store.write() as db:
            db.execute("DELETE FROM attempts WHERE time < ?", [at - WINDOW_S])
            whose = (f"{name} {address}", f"from {address}", f"for {name}")
            db.executemany("INSERT INTO attempts VALUES (?, ?)", [(who, at) for who in whose])

    def of_cookie(self, cookie: str) -> Who | None:
        """Whose session a cookie is."""
        try:
            secret = self._signer.unsign(cookie.encode("utf-8", "replace")).decode()
        except (BadSignature, UnicodeDecodeError):
            return None
        row = self.store.row(
            "SELECT u.name, u.role, s.csrf, s.secret FROM sessions s JOIN users u ON u.name = s.user"
            " WHERE s.secret = ? AND s.expires > ?",
            *(_hashed(secret), time.time()),
        )
        return Who(row["name"], row["role"], csrf=row["csrf"], session=row["secret"]) if row else None

    def log_out(self, who: Who) -> None:
        """End a session."""
        with self.store.write() as db:
            db.execute("DELETE FROM sessions WHERE secret = ?", [who.session])

    def new_token(self, name: str, note: str = "") -> str:
        """A token for a machine that acts as `name`; it is shown once. Raises SetupError."""
        if not self.store.value("SELECT 1 FROM users WHERE name = ?", name):
            raise SetupError(f"{name}: there is no such account. Make it: toeline serve user add {name}")
        note = typed(note, "--note")
        token = f"tl_{secrets.token_urlsafe(32)}"
        with self.store.write() as db:
            db.execute("INSERT INTO tokens VALUES (?, ?, ?, ?)", (_hashed(token), name, note, now()))
        return token

    def of_token(self, token: str) -> Who | None:
        """Whose token it is."""
        row = self.store.row(
            "SELECT u.name, u.role FROM tokens t JOIN users u ON u.name = t.user WHERE t.secret = ?", _hashed(token)
        )
        return Who(row["name"], row["role"]) if row else None
