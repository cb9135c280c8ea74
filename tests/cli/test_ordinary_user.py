"""An ordinary user: all that needs no root, the way to root where it is needed, and one log on both sides of sudo."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import unpacked
from tests.cli.running import COMMAND, Imgkit, User
from tests.conftest import ROOT, bound_loop_devices, need
from tests.custody.keys import agent, make_key
from tests.custody.tsa import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("ordinary-user")]


@pytest.fixture(scope="module")
def account() -> Iterator[User]:
    """A user of this host for as long as these tests run, who may use sudo."""
    need(os.geteuid() == 0, "needs root")
    need(shutil.which("sudo") is not None and shutil.which("useradd") is not None, "needs sudo and useradd")
    home = Path(tempfile.mkdtemp(prefix="imgkit-home-", dir="/var/tmp"))
    name = f"imgkit{os.getpid()}"
    rule = Path("/etc/sudoers.d") / name
    subprocess.run(["useradd", "--home-dir", home, "--user-group", "--shell", "/bin/sh", name], check=True)
    try:
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        rule.write_text(f"{name} ALL=(root) NOPASSWD: ALL\nDefaults:{name} !requiretty\n", encoding="ascii")
        rule.chmod(0o440)
        yield User(name, entry.pw_uid, entry.pw_gid, home)
    finally:
        rule.unlink(missing_ok=True)
        subprocess.run(["userdel", name], check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(home)


def interpreter_for(user: User) -> tuple[tuple[str, ...], dict[str, str]]:
    """The installed command; where its Python lies in root's home, the same code under the system's Python."""
    as_user = {"user": user.uid, "group": user.gid, "extra_groups": []}

    def runs(words: tuple[str, ...], env: dict[str, str]) -> bool:
        try:
            done = subprocess.run([*words, "--version"], env=env, capture_output=True, check=False, **as_user)  # type: ignore[call-overload]  # one dict of options
        except PermissionError:
            return False
        return bool(done.returncode == 0)

    if runs((COMMAND,), {}):
        return (COMMAND,), {}
    system = ("/usr/bin/python3", "-m", "imgkit")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = {"PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
    need(runs(system, env), "needs a Python that an ordinary user can run")
    return system, env


@pytest.fixture
def person(account: User) -> Iterator[Imgkit]:
    """Imgkit as that user types it: nothing in the environment but their home."""
    base = Path(tempfile.mkdtemp(prefix="test-", dir=account.home))
    imgkit = Imgkit(base)
    command, extra = interpreter_for(account)
    imgkit.user, imgkit.command = account, command
    imgkit.env = {"HOME": str(account.home), "PATH": os.environ["PATH"], "USER": account.name, **extra}
    for folder in (base, imgkit.folder):
        os.chown(folder, account.uid, account.gid)
    yield imgkit
    imgkit.sudo("unmount", "--all")
    imgkit.sudo("detach", "--all")
    shutil.rmtree(base)
    shutil.rmtree(account.home / ".local", ignore_errors=True)
    shutil.rmtree(account.home / ".config", ignore_errors=True)


def own_log(person: Imgkit) -> Path:
    assert person.user is not None
    return person.user.home / ".local/state/imgkit/custody.jsonl"


def strangers(folder: Path, user: User) -> list[str]:
    """Files and folders in there that are not the user's and their group's."""
    paths = [folder, *folder.rglob("*")]
    return [
        f"{path}: {path.lstat().st_uid}:{path.lstat().st_gid}"
        for path in paths
        if (path.lstat().st_uid, path.lstat().st_gid) != (user.uid, user.gid)
    ]


def test_all_that_needs_no_root_works(person: Imgkit) -> None:
    disk = unpacked(person, "gpt_ok.img.gz")
    person.image("report.pdf")
    for words, code in (
        (("info", disk), 0),
        (("hash", disk), 0),
        (("hash", disk, "-p", "1"), 0),
        (("verify", disk), 0),
        (("partitions", disk), 0),
        (("case", "new", "case"), 0),
        (("case", "add", disk, "--case", "case"), 0),
        (("case", "note", "text", "--case", "case"), 0),
        (("case", "enclose", "report.pdf", "--case", "case"), 0),
        (("case", "correct", "2", "data.format", "RAW", "--why", "x", "--case", "case"), 0),
        (("case", "show", "case"), 0),
        (("log", "show", "case"), 0),
        (("log", "verify", "case"), 0),
        (("log", "verify"), 0),
        (("doctor",), 0),
        (("selftest",), 0),
    ):
        done = person(*words).ended(code)
        assert not done.errors
    assert person.user is not None
    assert not strangers(person.user.home / ".local", person.user)
    assert not strangers(person.folder, person.user)


def test_the_demo_says_what_it_leaves_out(person: Imgkit) -> None:
    done = person("demo").ended(0)
    assert "Left out: attach" in done.out
    assert done.out.rstrip().endswith("verdict: in order")


def test_the_user_is_the_examiner(person: Imgkit) -> None:
    done = person("hash", person.image()).ended(0)
    assert person.user is not None
    actor = person.records(own_log(person))[-1]["actor"]
    assert actor == {"name": person.user.name, "id": f"{person.user.name}@{os.uname().nodename}"}
    assert f"own log, as {person.user.name} <" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("attach", "disk.dd"),
        ("attach", "disk.dd", "-p", "1"),
        ("mount", "disk.dd", "mnt"),
        ("mount", "disk.dd"),
    ],
    ids=" ".join,
)
def test_what_needs_root_says_so_with_the_whole_command(person: Imgkit, words: tuple[str, ...]) -> None:
    disk = unpacked(person, "gpt_ok.img.gz")
    (person.folder / disk).rename(person.folder / "disk.dd")
    (person.folder / "mnt").mkdir()
    done = person(*words).ended(3)
    assert len(done.errors) == 1
    (hint,) = (line for line in done.err.splitlines() if line.startswith("hint: "))
    typed = hint.removeprefix("hint: ").split()
    assert typed[0] == "sudo"
    assert Path(typed[1]).is_absolute()
    assert str(person.folder / "disk.dd") in typed
    assert person(*words, "--json").ended(3).json["error"]["kind"] == "not-permitted"
    kinds = {(record["type"], record["phase"]) for record in person.records(own_log(person))}
    assert ("evidence.attached", "intent") not in kinds


def test_status_without_root(person: Imgkit) -> None:
    """What this user's logs tell of and sysfs still shows; not proved, and said so."""
    disk = unpacked(person, "gpt_ok.img.gz")
    device = person.sudo("attach", disk, "-p", "1").ended(0).out.strip()
    (proved,) = (
        i for i in person.sudo("status", "--json").ended(0).json["attachments"] if i["device"] == device
    )
    done = person("status", "--json").ended(0)
    assert "seen only as root" in done.err
    assert done.json["proved"] is False
    (shown,) = done.json["attachments"]
    root_alone = {"lo_flags": None, "blkroget": None, "device": None, "inode": None}
    assert shown["read_only"] is None
    assert shown["proof"] == proved["proof"] | root_alone
    alike = set(proved) - {"read_only", "proof", "guard"}
    assert {key: shown[key] for key in alike} == {key: proved[key] for key in alike}
    text = person("status").ended(0)
    assert device in text.out
    assert "unknown" in text.out
    assert "read-only" not in text.out
    person.sudo("detach", device).ended(0)
    assert person("status", "--json").ended(0).json["attachments"] == []


def test_detach_and_unmount_without_root(person: Imgkit) -> None:
    for command in ("detach", "unmount"):
        done = person(command, "disk.dd").ended(3)
        assert len(done.errors) == 1


def test_the_hint_is_a_command_that_works(person: Imgkit) -> None:
    person.image()
    done = person("attach", "disk.dd").ended(3)
    (hint,) = (line.removeprefix("hint: ") for line in done.err.splitlines() if line.startswith("hint: "))
    options = {"user": person.user.uid, "group": person.user.gid} if person.user else {}
    env = {**person.env}
    words = ["sh", "-c", hint.replace("sudo ", f"sudo -n PYTHONPATH={env.get('PYTHONPATH', '')} ", 1)]
    shown = subprocess.run(words, env=env, cwd="/", capture_output=True, check=True, **options)  # type: ignore[call-overload]  # one dict of options
    device = shown.stdout.decode().strip()
    assert device.startswith("/dev/loop")
    assert person.sudo("detach", "disk.dd").ended(0).out == f"{device}\n"


def test_hash_as_user_and_attach_with_sudo_are_in_one_log(person: Imgkit) -> None:
    disk = unpacked(person, "gpt_ok.img.gz")
    before = (person.folder / disk).stat()
    person("hash", disk).ended(0)
    attached = person.sudo("attach", disk, "-p", "1").ended(0)
    device = attached.out.strip()
    (shown,) = (
        item
        for item in person.sudo("status", "--json").ended(0).json["attachments"]
        if item["device"] == device
    )
    assert person.user is not None
    assert shown["examiner"] == f"{person.user.name} <{person.user.name}@{os.uname().nodename}>"
    assert shown["exhibit"] == "EX1"
    person.sudo("detach", disk).ended(0)
    assert device.removeprefix("/dev/") not in bound_loop_devices()
    person("verify", disk).ended(0)
    kinds = [record["type"] for record in person.records(own_log(person)) if record["phase"] != "intent"]
    assert [kind for kind in kinds if kind != "evidence.inspected"] == [
        "log.opened",
        "evidence.added",
        "evidence.hashed",
        "evidence.attached",
        "evidence.detached",
        "evidence.verified",
    ]
    assert {record["actor"]["name"] for record in person.records(own_log(person))} == {person.user.name}
    assert not strangers(person.user.home / ".local", person.user)
    person("log", "verify").ended(0)
    after = (person.folder / disk).stat()
    assert (before.st_mtime_ns, before.st_ctime_ns, before.st_size) == (
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_size,
    )


def test_the_folder_rule_and_the_settings_hold_under_sudo(person: Imgkit) -> None:
    assert person.user is not None
    config = person.user.home / ".config"
    config.mkdir()
    (config / "imgkit.toml").write_text('name = "Jane Doe"\nid = "jane@lab"\n', encoding="utf-8")
    person.image()
    person("case", "new", "case").ended(0)
    case = person.folder / "case"
    person("hash", "../disk.dd", cwd=case).ended(0)
    done = person.sudo("info", "../disk.dd", cwd=case).ended(0)
    assert "case case, as Jane Doe <jane@lab>, line " in done.err
    person.image("report.pdf", b"%PDF")
    person.sudo("case", "enclose", "../report.pdf", cwd=case).ended(0)
    assert not strangers(case, person.user)
    assert not own_log(person).exists()


def test_the_first_use_under_sudo_leaves_the_user_their_files(person: Imgkit) -> None:
    person.image()
    person.sudo("hash", "disk.dd").ended(0)
    person.sudo("case", "new", "case").ended(0)
    assert person.user is not None
    assert not strangers(person.user.home / ".local", person.user)
    assert not strangers(person.folder, person.user)
    person("hash", "disk.dd").ended(0)


def test_root_follows_no_symlink_of_the_user_into_the_system(person: Imgkit) -> None:
    assert person.user is not None
    target = Path("/etc") / f"imgkit-planted-{os.getpid()}"
    state = person.user.home / ".local/state"
    state.mkdir(parents=True)
    for folder in (state, state.parent):
        os.chown(folder, person.user.uid, person.user.gid)
    (state / "imgkit").symlink_to(target)
    person.image()
    person.sudo("hash", "disk.dd").ended(3)
    assert not target.exists()
    (state / "imgkit").unlink()
    person("case", "new", "case").ended(0)
    folder = person.folder / "case" / "enclosures"
    shutil.rmtree(folder)
    folder.symlink_to("/etc")
    before = set(os.listdir("/etc"))
    person.sudo("case", "note", "text", "--case", "case").ended(3)
    assert set(os.listdir("/etc")) == before


def test_evidence_that_only_root_may_read(person: Imgkit) -> None:
    image = person.image()
    os.chown(image, 0, 0)
    image.chmod(0o600)
    done = person("hash", "disk.dd").ended(3)
    assert (
        done.json["error"]["kind"] == "not-permitted" if done.out else "Permission denied" in done.errors[0]
    )
    assert any(line.startswith("hint: sudo ") for line in done.err.splitlines())
    person.sudo("hash", "disk.dd").ended(0)


def test_a_case_folder_that_cannot_be_written_to(person: Imgkit) -> None:
    person.image()
    person("case", "new", "case").ended(0)
    case = person.folder / "case"
    before = (case / "custody.jsonl").read_bytes()
    for path in (case, case / "custody.jsonl"):
        os.chown(path, 0, 0)
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = person("hash", "disk.dd", "--case", "case").ended(3)
    assert len(done.errors) == 1
    assert "Permission denied" in done.errors[0]
    assert (case / "custody.jsonl").read_bytes() == before
    person("case", "new", "case/inner").ended(3)
    person("log", "verify", "case").ended(0)


# -- a file server that squashes root ---------------------------------------------------------------


@pytest.fixture
def squashed(person: Imgkit) -> Imgkit:
    """Root behind sudo whom the files refuse: without the capabilities that override modes, as a squashed root is.

    What the kernel reserves for root (loop devices, mounts) it still may; what lies in the user's folder it may not
    even see, unless it takes the user's place.
    """
    need(shutil.which("setpriv") is not None, "needs setpriv")
    assert person.user is not None
    user = person.user
    person.user = None
    without = "-dac_override,-dac_read_search,-fowner,-chown"
    person.command = ("setpriv", f"--bounding-set={without}", COMMAND)
    person.env |= {
        "SUDO_UID": str(user.uid),
        "SUDO_GID": str(user.gid),
        "SUDO_USER": user.name,
        "HOME": "/root",
    }
    for folder in (user.home, person.base, person.folder):
        folder.chmod(0o700)
    return person


def make_private(imgkit: Imgkit, account: User) -> None:
    """Nobody but the user sees what is in the working folder."""
    for path in imgkit.folder.rglob("*"):
        os.chown(path, account.uid, account.gid)
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_root_is_refused_here(squashed: Imgkit, account: User) -> None:
    squashed.image()
    make_private(squashed, account)
    words = [*squashed.command[:-1], "cat", str(squashed.folder / "disk.dd")]
    done = subprocess.run(words, capture_output=True, check=False)
    assert b"Permission denied" in done.stderr


def test_a_squashed_root_reads_as_the_user_and_records_in_their_log(squashed: Imgkit, account: User) -> None:
    disk = unpacked(squashed, "gpt_ok.img.gz")
    for number in (1, 2):
        squashed.image(f"set.00{number}", b"%d" % number * 1024)
    sums = squashed.image("SHA256SUMS", b"")
    digests = squashed("hash", "-a", "sha256", disk, "set.001")
    assert digests.code in {0, 3}
    make_private(squashed, account)
    digests = squashed("hash", "-a", "sha256", disk, "set.001").ended(0)
    sums.write_text(digests.out, encoding="utf-8")
    for words in (("verify", disk), ("verify", "set.002"), ("info", "set.001"), ("partitions", disk)):
        squashed(*words).ended(0)
    log = account.home / ".local/state/imgkit/custody.jsonl"
    assert not strangers(account.home / ".local", account)
    verdicts = [item["data"]["verdict"] for item in squashed.records(log) if "verdict" in item["data"]]
    assert set(verdicts) == {"match"}


def test_a_squashed_root_finds_the_case_of_the_folder(squashed: Imgkit, account: User) -> None:
    squashed.image()
    squashed("case", "new", "case").ended(0)
    make_private(squashed, account)
    done = squashed("hash", "../disk.dd", cwd=squashed.folder / "case").ended(0)
    assert "case case, as " in done.err
    squashed("case", "note", "seen", "--case", "case").ended(0)
    squashed("log", "verify", "case").ended(0)
    squashed("case", "show", "case").ended(0)
    assert not strangers(squashed.folder / "case", account)


def test_a_squashed_root_attaches_and_detaches(squashed: Imgkit, account: User) -> None:
    disk = unpacked(squashed, "gpt_ok.img.gz")
    make_private(squashed, account)
    device = squashed("attach", disk, "-p", "1").ended(0).out.strip()
    assert device.startswith("/dev/loop")
    assert squashed("detach", device).ended(0).out == f"{device}\n"


def test_behind_sudo_the_users_key_and_agent_sign(person: Imgkit, account: User) -> None:
    """Root's ssh-keygen would not take a key of somebody else, and sudo drops the agent's socket: it is said."""
    case = person.case()
    key = make_key(person.base / "id")
    for path in (key, key.with_name("id.pub")):
        os.chown(path, account.uid, account.gid)
    words = ("log", "checkpoint", case, "--json", "--signer")
    document = person.sudo(*words, key).ended(0).json
    assert document["signed"], document["notices"]
    assert {os.stat(path).st_uid for path in document["files"]} == {account.uid}
    with agent(person.base, key, uid=account.uid) as socket:
        key.unlink()
        person.env["SSH_AUTH_SOCK"] = socket
        dropped = person.sudo(*words, key.with_name("id.pub")).ended(0).json
        assert "sudo drops SSH_AUTH_SOCK" in dropped["notices"][0]
        assert person(*words, key.with_name("id.pub")).ended(0).json["signed"]
        direct, person.command = person.command, ("sudo", "-n", "--preserve-env=SSH_AUTH_SOCK", COMMAND)
        assert person(*words, key.with_name("id.pub")).ended(0).json["signed"]
        person.command = direct


def test_behind_sudo_stamps_and_receipts_are_the_users(person: Imgkit, account: User, tmp_path: Path) -> None:
    """Queries, replies, roots and pictures are files of the user, in folders that others may not look into."""
    person("case", "new", "case").ended(0)
    person("log", "checkpoint", "case").ended(0)
    authority = Authority(tmp_path / "tsa")
    (person.folder / "roots.pem").write_bytes(authority.roots.read_bytes())
    person.folder.chmod(0o700)
    person.sudo("log", "timestamp", "case", "--request", "query.tsq").ended(0)
    (person.folder / "reply.tsr").write_bytes(authority.reply((person.folder / "query.tsq").read_bytes()))
    for name in ("roots.pem", "reply.tsr"):
        os.chown(person.folder / name, account.uid, account.gid)
        (person.folder / name).chmod(0o600)
    words = ("log", "timestamp", "case", "--reply", "reply.tsr", "--tsa-roots", "roots.pem", "--json")
    assert person.sudo(*words).ended(0).json["trusted"] is True
    person.sudo("log", "receipt", "case", "--svg", "receipt.svg").ended(0)
    assert strangers(person.folder, account) == []
    person("log", "verify", "case", "--tsa-roots", "roots.pem").ended(0)
    person.sudo("log", "verify", "case", "--tsa-roots", "roots.pem").ended(0)
    secret = tmp_path / "secret.pem"
    secret.write_bytes(authority.roots.read_bytes())
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    refused = person.sudo("log", "timestamp", "case", "--reply", secret).ended(3)
    assert "Permission denied" in refused.errors[0]
