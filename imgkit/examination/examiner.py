"""Who acts: the invoking user (also behind sudo), their settings, and the examiner they state to be.

The examiner is never taken from the case: `--examiner`, IMGKIT_EXAMINER, the user's imgkit.toml, /etc/imgkit.toml,
the login name, in this order.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import HostError, UsageError
from imgkit.linux.files import Identity, acting_as, open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_SETTINGS = "/etc/imgkit.toml"
_NO_LOGIN = 0xFFFFFFFF  # /proc/self/loginuid where nobody logged in
_SETTINGS = ("name", "id", "role", "organisation", "signer", "tsa", "algorithms", "require_case")
_TEXTS = ("name", "id", "role", "organisation")
_FOR_EXAMPLE = "for example --examiner 'Jane Doe <jane@lab.example>'"
_NAMED = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<id>[^<>]+)>\s*")


@dataclass(frozen=True, slots=True)
class User:
    """The user who started imgkit: behind sudo the one who typed it.

    Attributes:
        uid: User id.
        name: Login name, or the number where the host knows none.
        home: Home folder, or None.
        identity: With whose rights their files are touched.
    """

    uid: int
    name: str
    home: str | None
    identity: Identity


def invoking_user(environ: Mapping[str, str]) -> User:
    """Return the user behind this process: the login uid (it survives sudo and su), else SUDO_UID, else our own."""
    uid = os.getuid()
    if uid == 0:
        uid = _login_uid() or _sudo_uid(environ) or 0
    try:
        return user_of(uid)
    except KeyError:
        return _unknown_user(uid, environ)


def user_of(uid: int) -> User:
    """Return the user of that number.

    Raises:
        KeyError: This host knows none.
    """
    entry = pwd.getpwuid(uid)
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    if uid == os.getuid():
        groups = tuple(os.getgroups())
    return User(uid, entry.pw_name, entry.pw_dir, Identity(uid, entry.pw_gid, groups))


def _unknown_user(uid: int, environ: Mapping[str, str]) -> User:
    """A user that the host has no entry of; behind sudo neither HOME nor the groups are theirs."""
    if uid == os.getuid():
        return User(uid, str(uid), environ.get("HOME"), Identity(uid, os.getgid(), tuple(os.getgroups())))
    text = environ.get("SUDO_GID", "")
    gid = int(text) if text.isdecimal() else uid
    return User(uid, str(uid), None, Identity(uid, gid, (gid,)))


def _login_uid() -> int:
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            uid = int(file.read())
    except (OSError, ValueError):
        return 0  # a kernel without audit says nothing
    return 0 if uid == _NO_LOGIN else uid


def _sudo_uid(environ: Mapping[str, str]) -> int:
    text = environ.get("SUDO_UID", "")
    return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """With which key checkpoints are signed.

    Attributes:
        key: Path of an SSH key, of a public key that an agent holds, or of a certificate; `~` is the user's home.
        principal: Whom lists of signers know it as; None: the examiner's id.
    """

    key: str
    principal: str | None = None


@dataclass(frozen=True, slots=True)
class TimeAuthority:
    """Which time-stamp authority is asked.

    Attributes:
        url: Where.
        roots: File of certificates that are trusted, or None; `~` is the user's home.
    """

    url: str
    roots: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What imgkit.toml states, the user's own file before the system's.

    Attributes:
        name, id, role, organisation: Who the examiner is; None where not stated.
        signer: With which key checkpoints are signed, or None.
        tsa: Which time-stamp authority is asked, or None.
        algorithms: Default hash algorithms, or empty.
        require_case: Whether working without a case is a usage error.
    """

    name: str | None = None
    id: str | None = None
    role: str | None = None
    organisation: str | None = None
    signer: SigningKey | None = None
    tsa: TimeAuthority | None = None
    algorithms: tuple[str, ...] = ()
    require_case: bool = False


def load_settings(user: User, environ: Mapping[str, str], *, system: str = SYSTEM_SETTINGS) -> Settings:
    """Read the user's imgkit.toml and the system's; what the user's states counts.

    Args:
        user: The invoking user.
        environ: For XDG_CONFIG_HOME.
        system: The system's file.

    Raises:
        UsageError: A file is no TOML, or holds an unknown key or a value of the wrong kind.
    """
    values: dict[str, object] = {}
    folder = environ.get("XDG_CONFIG_HOME") or (os.path.join(user.home, ".config") if user.home else None)
    if (own := _read_toml(system, None)) is not None:
        values.update(own)
    if folder is not None:
        behind_sudo = user.identity if os.geteuid() == 0 and user.uid != 0 else None
        if (own := _read_toml(os.path.join(folder, "imgkit.toml"), behind_sudo)) is not None:
            values.update(own)
    algorithms = values.pop("algorithms", ())
    texts = {key: str(values[key]) for key in _TEXTS if key in values}
    return Settings(
        algorithms=tuple(algorithms) if isinstance(algorithms, list) else (),
        require_case=values.get("require_case") is True,
        signer=_signing_key(values.get("signer")),
        tsa=_time_authority(values.get("tsa")),
        **texts,
    )


def _signing_key(value: object) -> SigningKey | None:
    """`signer = "~/.ssh/id_ed25519"`, or `signer = {principal = "jane@lab", key = "…"}`, as _check_setting let pass."""
    if isinstance(value, dict):
        return SigningKey(str(value["key"]), value.get("principal"))
    return SigningKey(value) if isinstance(value, str) else None


def _time_authority(value: object) -> TimeAuthority | None:
    """`tsa = "http://tsa.example"`, or `tsa = {url = "…", roots = "~/tsa.pem"}`, as _check_setting let pass."""
    if isinstance(value, dict):
        return TimeAuthority(str(value["url"]), value.get("roots"))
    return TimeAuthority(value) if isinstance(value, str) else None


def _is_text_or_table(value: object, required: str, optional: str) -> bool:
    texts = list(value.values()) if isinstance(value, dict) else [value]
    known = not isinstance(value, dict) or {required} <= value.keys() <= {required, optional}
    return known and all(isinstance(text, str) and text.strip() for text in texts)


def _read_toml(path: str, identity: Identity | None) -> dict[str, object] | None:
    try:
        with acting_as(identity):
            file = open_regular(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        raise UsageError(f"cannot read the settings {path}: {error.strerror}") from error
    import tomllib

    with file:
        try:
            values = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"the settings {path} are no valid TOML: {error}") from error
    for key, value in values.items():
        _check_setting(path, key, value)
    return values


def _check_setting(path: str, key: str, value: object) -> None:
    if key not in _SETTINGS:
        raise UsageError(
            f"the settings {path} hold an unknown key {key!r}", hint="known are " + ", ".join(_SETTINGS)
        )
    fits = {
        "require_case": isinstance(value, bool),
        "signer": _is_text_or_table(value, "key", "principal"),
        "tsa": _is_text_or_table(value, "url", "roots"),
        "algorithms": isinstance(value, list) and all(isinstance(item, str) for item in value),
    }.get(key, isinstance(value, str) and bool(value.strip()))
    if not fits:
        raise UsageError(f"the settings {path}: {key} cannot be {value!r}")
    for name in value if isinstance(value, list) else ():
        from imgkit.hashing import algorithm_name

        try:
            algorithm_name(name)
        except UsageError as error:
            raise UsageError(f"the settings {path}: {error.message}", hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class Examiner:
    """The person who acts.

    Attributes:
        name: As they state it.
        id: `user@host` unless stated.
        role: Or None.
        organisation: Or None.
    """

    name: str
    id: str
    role: str | None = None
    organisation: str | None = None

    def __str__(self) -> str:
        return f"{self.name} <{self.id}>"


def examiner_of(stated: str | None, settings: Settings, user: User) -> Examiner | None:
    """Return who acts; None where root acts for nobody known, who must be asked.

    Args:
        stated: `--examiner` or IMGKIT_EXAMINER: `Jane Doe` or `Jane Doe <jane@lab>`.
        settings: From imgkit.toml.
        user: The invoking user.

    Raises:
        UsageError: The statement is empty, or neither `NAME` nor `NAME <ID>`.
    """
    default_id = f"{user.name}@{os.uname().nodename}"
    if stated is not None:
        match = _NAMED.fullmatch(stated)
        if match is None and ("<" in stated or ">" in stated):
            raise UsageError(f"{stated!r} is not NAME <ID>", hint=_FOR_EXAMPLE)
        name, own_id = (match["name"], match["id"].strip()) if match else (stated.strip(), None)
        if not (name := name or (own_id or "")):
            raise UsageError("the examiner's name is empty", hint=_FOR_EXAMPLE)
        same = name == settings.name
        return Examiner(
            name,
            own_id or (settings.id if same and settings.id else default_id),
            settings.role if same else None,
            settings.organisation if same else None,
        )
    if settings.name is None and user.uid == 0:
        return None
    return Examiner(
        settings.name or user.name, settings.id or default_id, settings.role, settings.organisation
    )


def state_folder(user: User, environ: Mapping[str, str]) -> str:
    """Return the folder for this user's own log and this host's memory of log heads; it need not exist yet.

    Raises:
        HostError: The user has no home folder and XDG_STATE_HOME is not set.
    """
    if base := environ.get("XDG_STATE_HOME"):
        return os.path.join(os.path.abspath(base), "imgkit")
    if user.uid == 0:
        return "/var/lib/imgkit"
    if user.home is None or not os.path.isdir(user.home):
        raise HostError(
            f"user {user.name} has no home folder to remember log heads in",
            hint="set XDG_STATE_HOME to a folder that this user can write",
        )
    return os.path.join(user.home, ".local", "state", "imgkit")
