"""What may import what inside imgkit: the table of docs/architecture.md, enforced on the syntax tree.

Imports inside functions and under TYPE_CHECKING count: a type of a higher layer in a lower one is the same knot.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "imgkit"

EVIDENCE = {
    "errors", "linux", "blkid", "hashing", "image", "containers", "references", "partitions", "filesystems",
    "holders", "expose", "attachment", "mounting", "custody", "reports",
}  # fmt: skip

# layer (a file or folder below imgkit/) -> the layers it may import; its own folder is judged by SIBLINGS.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "linux": set(),
    "superblock_places": set(),
    "blkid": {"errors", "superblock_places"},
    "holders": {"linux"},
    "hashing": {"errors"},
    "image": {"errors", "hashing"},
    "containers": {"image", "hashing", "errors", "linux"},
    "references": {"image", "hashing", "errors"},
    "partitions": {"image", "blkid", "linux", "errors"},
    "filesystems": {"image", "blkid", "errors"},
    "expose": {"containers", "image", "holders", "errors", "linux"},
    "attachment": {"image", "expose", "holders", "linux", "errors"},
    "mounting": {"attachment", "filesystems", "holders", "linux", "errors"},
    "custody": {"hashing", "errors", "linux"},
    "reports": {"custody", "errors"},
    "doctor": {"blkid", "filesystems", "linux", "errors"},
    "selftest": EVIDENCE - {"reports"},
    "examination": EVIDENCE | {"doctor"},
    "cli": {
        "examination",
        "custody",
        "reports",
        "doctor",
        "selftest",
        "hashing",
        "references",
        "errors",
        "linux",  # signals
        "api",
    },
    "__main__": {"cli"},
    "api": EVIDENCE | {"examination"},
}

# The command line prints facts of every layer: it may name their types in annotations, and call none of them.
TYPES_TOO: dict[str, set[str]] = {"cli": EVIDENCE}

# folder -> modules that its files may import from each other (the facts they share); __init__ ties all together.
DATA_MODULES: dict[str, set[str]] = {
    "containers": {
        *("evidence_file", "split_names", "link_names", "segment_files", "reader"),
        *("block_image", "block_table", "differencing"),
    },
    "references": {"reference"},
    "partitions": {"table", "gpt_types", "dos_types"},
    "filesystems": set(),
    "linux": set(),
    "reports": {
        *("acts", "exhibits", "view", "values", "wording", "telling"),
        *("joining", "acquisition", "digests", "tables", "presences", "folding"),
    },
}
# Folders whose modules build on each other: allowed, without a cycle.
LAYERED = {"attachment", "cli", "custody", "examination", "expose", "mounting", "selftest"}
# The verifier shares nothing with the writer but the format: a fault of the writer must not hide in it.
WRITERS = {
    *("custody.anchoring", "custody.append", "custody.authority", "custody.checkpoints"),
    *("custody.log", "custody.measure", "custody.receipts", "custody.session"),
}

THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "typer": ("cli/",),
    "click": ("cli/",),
    "rich": ("cli/",),
    "pytsk3": ("partitions/tsk.py",),
    "blake3": ("hashing.py",),
    "cryptography": ("custody/stamp_trust.py",),
    "rfc3161_client": ("custody/stamp_trust.py",),
    "segno": ("cli/",),
    "isal": ("containers/ewf/", "containers/qcow2/", "containers/vmdk/"),
    "zstandard": ("containers/qcow2/",),
}
STOCK_TOOLS = {"losetup", "mount", "umount", "blkid", "blockdev", "parted", "sfdisk", "mmls", "dmsetup"}
STARTERS = {"run", "Popen", "call", "check_call", "check_output", "system", "popen", "posix_spawn"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, as written at a line; `types` where it is imported for annotations only."""

    path: str
    line: int
    module: str
    types: bool

    def __str__(self) -> str:
        return f"imgkit/{self.path}:{self.line} imports {self.module}"


def sources() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found[path.relative_to(PACKAGE).as_posix()] = ast.parse(path.read_bytes(), str(path))
    return found


SOURCES = sources()


def is_module(dotted: str) -> bool:
    place = ROOT / dotted.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def for_types_only(tree: ast.Module) -> set[ast.AST]:
    """Every node below an `if TYPE_CHECKING:`."""
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {inner for guard in guards for statement in guard.body for inner in ast.walk(statement)}


def imports_of(path: str, tree: ast.Module) -> list[Import]:
    found, typing = [], for_types_only(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(path, node.lineno, alias.name, node in typing) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"imgkit/{path}:{node.lineno}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                if module == "imgkit" and alias.name == "__version__":
                    continue  # a constant, of use to whoever writes it down
                target = inner if is_module(inner) else module
                found.append(Import(path, node.lineno, target, node in typing))
    return found


IMPORTS = [found for path, tree in SOURCES.items() for found in imports_of(path, tree)]
OWN = [found for found in IMPORTS if found.module.split(".")[0] == "imgkit"]


def layer_of_path(path: str) -> str:
    if path == "__init__.py":
        return "api"
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def layer_of_module(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "api"


def name_in_folder(path: str) -> str:
    """`partitions/tsk.py` is `tsk`; `custody/verify/lines.py` is `verify.lines`; an `__init__` is its folder."""
    inner = path.split("/", 1)[1].removesuffix(".py").replace("/", ".")
    return inner.removesuffix("__init__").rstrip(".")


def test_every_file_has_a_place_in_the_table() -> None:
    unknown = {layer_of_path(path) for path in SOURCES} - set(MAY_IMPORT)
    assert not unknown, f"not in docs/architecture.md, section Imports: {sorted(unknown)}"


def test_layers() -> None:
    wrong = []
    for found in OWN:
        here, there = layer_of_path(found.path), layer_of_module(found.module)
        allowed = MAY_IMPORT[here] | (TYPES_TOO.get(here, set()) if found.types else set())
        if here != there and there not in allowed:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_siblings_share_only_their_data_module() -> None:
    wrong = []
    for found in OWN:
        here, there = layer_of_path(found.path), layer_of_module(found.module)
        if here != there or here not in DATA_MODULES:
            continue
        sibling = found.module.removeprefix(f"imgkit.{here}").lstrip(".")
        own = name_in_folder(found.path).split(".")[
            0
        ]  # `ewf` of containers/ewf/tables.py: a reader in several files
        if own and sibling.split(".")[0] != own and sibling not in DATA_MODULES[here]:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", sorted(LAYERED))
def test_no_cycle_inside(folder: str) -> None:
    """Annotations may name the class that an `__init__` ties together; what runs may not go in a circle."""
    edges: dict[str, set[str]] = {}
    for found in OWN:
        if layer_of_path(found.path) == folder == layer_of_module(found.module) and not found.types:
            target = found.module.removeprefix(f"imgkit.{folder}").lstrip(".")
            edges.setdefault(name_in_folder(found.path), set()).add(target)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"import cycle in {folder}: " + " -> ".join((*way, name))
        if name not in done:
            for target in edges.get(name, ()):
                visit(target, (*way, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_verifier_shares_nothing_with_the_writer() -> None:
    wrong = [
        str(found)
        for found in OWN
        if found.path.startswith("custody/verify") and found.module.removeprefix("imgkit.") in WRITERS
    ]
    assert not wrong, "\n".join(wrong)


def test_record_format_stands_alone() -> None:
    wrong = [str(f) for f in OWN if f.path == "custody/record.py" and layer_of_module(f.module) == "custody"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", sorted(THIRD_PARTY))
def test_library_stays_in_its_adapter(library: str) -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.module.split(".")[0] == library and not found.path.startswith(THIRD_PARTY[library])
    ]
    assert not wrong, "\n".join(wrong)


def test_linux_is_standard_library_only() -> None:
    known = sys.stdlib_module_names | {"imgkit"}
    wrong = [str(f) for f in IMPORTS if f.path.startswith("linux/") and f.module.split(".")[0] not in known]
    assert not wrong, "\n".join(wrong)


def first_word(node: ast.expr) -> str:
    """The program of an argv literal: `["losetup", …]`, `("mount", …)` or `"blkid -p"`; else an empty string."""
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        return first_word(node.elts[0])
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and node.value:
        text = node.value.decode() if isinstance(node.value, bytes) else node.value
        words = text.split()
        return words[0].rsplit("/", 1)[-1] if words else ""
    return ""


def starts_stock_tool(node: ast.Call) -> bool:
    owner, _dot, called = ast.unparse(node.func).rpartition(".")
    if owner not in {"", "os", "subprocess"}:
        return False
    if called not in STARTERS and not called.startswith(("exec", "spawn")):
        return False
    return any(first_word(argument) in STOCK_TOOLS for argument in node.args)


def test_no_stock_tool_is_started() -> None:
    wrong = [
        f"imgkit/{path}:{node.lineno}"
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and starts_stock_tool(node)
    ]
    assert not wrong, "\n".join(wrong)


def catches_everything(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or getattr(kind, "id", "") == "Exception" for kind in kinds)


def test_nobody_catches_everything() -> None:
    wrong = [
        f"imgkit/{path}:{node.lineno}"
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('subprocess.run(["losetup", "-f"])', True),
        ('os.system("mount -o ro x y")', True),
        ('run(("/sbin/blkid", device))', True),
        ('subprocess.run([sys.executable, "-m", "imgkit"])', False),
        ('mount("/dev/loop0", "/mnt")', False),
        ('tour.run("mount", image)', False),
    ],
)
def test_the_check_for_stock_tools_sees_them(code: str, *, expected: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert starts_stock_tool(call) is expected
