"""Values of a record as a report needs them: of the kind it expects, whatever a stranger's log holds in their place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import decode_document
from imgkit.errors import CustodyError
from imgkit.reports.acts import Actor, Moment, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # SHA-256 and name of an enclosure -> its bytes, or None where it is not there or not what the record names
    Enclosures = Callable[[str, str], bytes | None]

Data = dict[str, Any]


def text(value: Any) -> str:
    """A value in words; empty for what is not there."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    if isinstance(value, dict):
        return in_words(value)
    return str(value)


def in_words(value: Mapping[str, Any]) -> str:
    """`make: Samsung, serial: S3Z9`; a person as `Jane Doe <jane@lab>`; of an enclosure that is not there its name."""
    if is_reference(value):
        return f"[{value['count']} in enclosure {value['enclosure']}]"
    if value.keys() == {"name", "id"}:
        return f"{text(value['name'])} <{text(value['id'])}>"
    return ", ".join(f"{key}: {text(item)}" for key, item in value.items())


def number(value: Any) -> int | None:
    """An integer, also where it is written as a string of digits; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:  # noqa: PLR2004  (64 bits)
        return int(value)
    return None


def items(value: Any) -> list[Data]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping(value: Any) -> Data:
    """An object; empty for anything else."""
    return value if isinstance(value, dict) and not is_reference(value) else {}


def pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """The fields of an object in words, in the order of the record."""
    return tuple((key, text(item)) for key, item in mapping(value).items() if text(item))


def is_reference(value: Any) -> bool:
    """Whether it stands for a list or text that lies in an enclosure."""
    return isinstance(value, dict) and value.keys() == {"count", "sha256", "enclosure"}


def moment(value: Mapping[str, Any]) -> Moment:
    """Of a `time` object."""
    return Moment(text(value.get("utc")), text(value.get("tz")), text(value.get("sync")))


def actor(value: Mapping[str, Any]) -> Actor:
    """Of an `actor` object."""
    return Actor(*(text(value.get(key)) for key in ("name", "id", "role", "org")))


def session(uuid: str, line: int, env: Mapping[str, Any]) -> Session:
    """Of the `env` of a session's first record."""
    tool = mapping(env.get("tool"))
    version = text(tool.get("version"))
    argv = env.get("argv")
    return Session(
        id=uuid,
        line=line,
        tool=f"{text(tool.get('name'))} {version}".strip(),
        version=version,
        record_sha256=text(tool.get("record_sha256")),
        python=text(env.get("python")),
        kernel=text(env.get("kernel")),
        host=text(env.get("host")),
        libraries=pairs(env.get("libraries")),
        argv=tuple(text(word) for word in argv) if isinstance(argv, list) else (),
        env=env,
    )


def with_enclosed(value: Any, enclosures: Enclosures) -> Any:
    """A value with lists and texts from enclosures in their places, where they are there."""
    if is_reference(value):
        return _enclosed(value, enclosures)
    if isinstance(value, dict):
        return {key: with_enclosed(item, enclosures) for key, item in value.items()}
    if isinstance(value, list):
        return [with_enclosed(item, enclosures) for item in value]
    return value


def _enclosed(reference: Data, enclosures: Enclosures) -> Any:
    name = text(reference["enclosure"])
    content = enclosures(text(reference["sha256"]), name)
    if content is None:
        return reference
    if name.endswith(".txt"):
        return content.decode("utf-8", "backslashreplace")
    try:
        return with_enclosed(decode_document(content), enclosures) if name.endswith(".json") else reference
    except CustodyError:
        return reference  # it is not what imgkit writes: it stays a reference


def as_json(value: Any) -> str:
    """A value in full, for who wants to see all that a record says."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(", ", ": "))
