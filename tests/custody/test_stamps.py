"""Time stamps: replies of a real authority, and replies with one thing wrong; openssl as the stranger who is asked, too."""

from __future__ import annotations

import datetime as dt
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from rfc3161_client import decode_timestamp_response

from imgkit.custody import der
from imgkit.custody.stamp_reply import Refused, read_reply
from imgkit.custody.stamps import check_reply, imprint_in, imprint_of, read_query, request
from imgkit.errors import CustodyError
from tests.custody.tsa import GRANTED, NOW, POLICY, USES, YEAR, Authority, issue, make_info, make_reply

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.custody.stamps import StampFacts

SUMS = b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  000012.txt\n"
EXPIRED = NOW - 2 * YEAR  # when certificates of the past ended


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def reply(authority: Authority) -> bytes:
    return authority.reply(request(SUMS).der)


def kinds(facts: StampFacts) -> list[str]:
    return [problem.kind for problem in facts.problems]


def checked(authority: Authority, reply: bytes, *, sums: bytes = SUMS, nonce: int | None = None) -> list[str]:
    """What is wrong with a reply; a stranger with openssl finds the same (the nonce only who asked can know)."""
    facts = check_reply(reply, sums=sums, nonce=nonce, roots=authority.roots)
    assert facts.trusted is not bool(facts.problems)
    if facts.time is not None and nonce is None:
        at = int(dt.datetime.fromisoformat(facts.time).timestamp())
        assert authority.says_openssl(reply, sums, at=at) is facts.trusted
    return kinds(facts)


# -- the query -----------------------------------------------------------------------------------------------------------


def test_a_query_is_what_openssl_reads(tmp_path: Path) -> None:
    query = request(SUMS)
    (tmp_path / "q").write_bytes(query.der)
    said = subprocess.run(
        ["openssl", "ts", "-query", "-in", tmp_path / "q", "-text"], capture_output=True, check=True
    ).stdout.decode()
    assert "Hash Algorithm: sha256" in said
    assert "Certificate required: yes" in said
    assert f"Nonce: 0x{query.nonce:016X}" in said
    assert read_query(query.der) == query
    assert query.imprint == imprint_of(SUMS)


def test_a_query_holds_the_digest_and_a_new_number_and_nothing_else() -> None:
    first, second = request(SUMS), request(SUMS)
    assert first.nonce != second.nonce
    bare = [query.der.replace(der.encode_integer(query.nonce or 0), b"") for query in (first, second)]
    assert bare[0][2:] == bare[1][2:]
    assert len(bare[0]) == len(bytes.fromhex(first.imprint)) + 27  # version, algorithm, certificates wanted


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30\x00", b"<html>", request(SUMS).der[:-1], request(SUMS).der + b"x"],
    ids=["empty", "empty-sequence", "page", "cut", "longer"],  # a nonce in a name differs in each worker
)
def test_what_is_no_query_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(CustodyError, match="no time-stamp query"):
        read_query(data)


# -- replies of a real authority -----------------------------------------------------------------------------------------


def test_a_reply_that_fits_is_trusted_through_its_roots(authority: Authority) -> None:
    query = request(SUMS)
    facts = check_reply(authority.reply(query.der), sums=SUMS, nonce=query.nonce, roots=authority.roots)
    assert facts.trusted
    assert facts.fits
    assert (facts.tsa, facts.policy, facts.imprint) == ("Test TSA", POLICY, imprint_of(SUMS))
    assert abs(dt.datetime.fromisoformat(str(facts.time)) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=2)


def test_without_roots_it_fits_and_nobody_vouches_for_it(reply: bytes) -> None:
    facts = check_reply(reply, sums=SUMS)
    assert facts.fits
    assert not facts.trusted


def test_for_other_bytes(authority: Authority, reply: bytes) -> None:
    assert checked(authority, reply, sums=b"other\n") == ["imprint"]
    assert imprint_in(reply) == imprint_of(SUMS)


def test_to_another_query(authority: Authority, reply: bytes) -> None:
    assert checked(authority, reply, nonce=1) == ["nonce"]
    unasked = make_reply(authority.signer, make_info(SUMS, None, NOW))
    assert checked(authority, unasked, nonce=1) == ["nonce"]
    assert checked(authority, unasked) == []


def test_rejected(tmp_path: Path) -> None:
    picky = Authority(tmp_path, digests="sha512")
    facts = check_reply(picky.reply(request(SUMS).der), sums=SUMS, roots=picky.roots)
    assert kinds(facts) == ["status"]
    assert "rejected" in facts.problems[0].text
    assert "not supported" in facts.problems[0].text
    assert imprint_in(picky.reply(request(SUMS).der)) is None


def test_of_an_authority_that_nobody_trusts(tmp_path: Path, reply: bytes) -> None:
    other = Authority(tmp_path, root=issue("Another Root"))
    assert checked(other, reply) == ["chain"]


def test_a_root_of_the_same_name_is_another(tmp_path: Path, reply: bytes) -> None:
    assert checked(Authority(tmp_path), reply) == ["chain"]


def test_two_certificates_in_whatever_order_pass(tmp_path: Path) -> None:
    root = issue("Test Root")
    middle = issue("Test Agency", root)
    signer = issue("Test TSA", middle, uses=USES)
    authority = Authority(tmp_path, root=root, signer=signer, chain=(middle,))
    assert checked(authority, authority.reply(request(SUMS).der)) == []
    info, refused = make_info(SUMS, 7, NOW), 0
    for order in ((signer, middle), (middle, signer)):
        reply = make_reply(signer, info, certificates=order)
        assert checked(authority, reply) == []
        try:
            decode_timestamp_response(reply)
        except ValueError:
            refused += 1
    assert refused == 1, "the library took both orders: the way past it was not tried"
    assert checked(authority, make_reply(signer, info)) == ["chain"]


def test_an_authority_with_an_rsa_key(tmp_path: Path) -> None:
    root = issue("RSA Root", key=rsa.generate_private_key(65537, 2048))
    signer = issue("RSA TSA", root, uses=USES, key=rsa.generate_private_key(65537, 2048))
    authority = Authority(tmp_path, root=root, signer=signer)
    assert checked(authority, authority.reply(request(SUMS).der)) == []


def test_hostile_names_are_shown_escaped(tmp_path: Path) -> None:
    root = issue("Test Root")
    signer = issue("Evil\x1b[31m\u202e\n=cmd", root, uses=USES)
    facts = check_reply(make_reply(signer, make_info(SUMS, 7, NOW)), sums=SUMS)
    assert facts.tsa == "Evil\\x1b[31m\\u202e\\n=cmd"


# -- time ----------------------------------------------------------------------------------------------------------------


def test_a_certificate_that_was_valid_then_is_enough(tmp_path: Path) -> None:
    root = issue("Old Root", start=NOW - 9 * YEAR, end=EXPIRED)
    signer = issue("Old TSA", root, start=NOW - 9 * YEAR, end=EXPIRED, uses=USES)
    authority = Authority(tmp_path, root=root, signer=signer)
    reply = make_reply(signer, make_info(SUMS, 7, EXPIRED - YEAR))
    assert checked(authority, reply) == []
    assert not authority.says_openssl(reply, SUMS), "openssl without -attime should find it expired"
    late = check_reply(reply, sums=SUMS, roots=authority.roots, at=f"{NOW:%Y-%m-%dT%H:%M:%S}Z")
    assert kinds(late) == ["chain"]
    assert "expired" in late.problems[0].text


@pytest.mark.parametrize("when", [EXPIRED + dt.timedelta(days=1), NOW - 10 * YEAR], ids=["after", "before"])
def test_a_stamp_from_outside_of_the_certificates_time_is_none(tmp_path: Path, when: dt.datetime) -> None:
    root = issue("Root", start=NOW - 20 * YEAR)
    signer = issue("Old TSA", root, start=NOW - 9 * YEAR, end=EXPIRED, uses=USES)
    authority = Authority(tmp_path, root=root, signer=signer)
    assert checked(authority, make_reply(signer, make_info(SUMS, 7, when))) == ["chain"]


def test_an_expired_chain_above_the_signer(tmp_path: Path) -> None:
    root = issue("Root", start=NOW - 20 * YEAR)
    middle = issue("Agency", root, start=NOW - 9 * YEAR, end=EXPIRED)
    signer = issue("TSA", middle, uses=USES)
    authority = Authority(tmp_path, root=root, signer=signer)
    reply = make_reply(signer, make_info(SUMS, 7, NOW), certificates=(signer, middle))
    assert checked(authority, reply) == ["chain"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"20260501123456Z", "2026-05-01T12:34:56.000000Z"),
        (b"20260501123456.5Z", "2026-05-01T12:34:56.500000Z"),
        (b"20260501123456.1234567Z", "2026-05-01T12:34:56.123456Z"),
        (b"20260501123456", None),
        (b"20260501123456.50Z", None),
        (b"20260501123456+0200", None),
        (b"20260531T123456Z", None),
    ],
)
def test_times_as_they_are_written(authority: Authority, written: bytes, shown: str | None) -> None:
    info = make_info(SUMS, 7, NOW).replace(
        der.encode(der.GENERALIZED_TIME, f"{NOW:%Y%m%d%H%M%S}Z".encode()),
        der.encode(der.GENERALIZED_TIME, written),
    )
    inner = der.encode(der.SEQUENCE, info[2:])
    assert check_reply(make_reply(authority.signer, inner), sums=SUMS).time == shown


@pytest.mark.parametrize("written", [b"20261301000000Z", b"20260230000000Z", b"20260101250000Z"])
def test_a_time_that_no_calendar_has_is_none(authority: Authority, written: bytes) -> None:
    info = make_info(SUMS, 7, NOW).replace(f"{NOW:%Y%m%d%H%M%S}Z".encode(), written)
    assert checked(authority, make_reply(authority.signer, info)) == ["malformed"]


# -- who signs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uses", "critical"),
    [
        ((ExtendedKeyUsageOID.CODE_SIGNING,), True),
        ((ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH), True),
        ((ExtendedKeyUsageOID.TIME_STAMPING,), False),
        ((), True),
    ],
    ids=["other", "two", "not-critical", "none"],
)
def test_a_certificate_for_something_else(
    tmp_path: Path, uses: tuple[object, ...], *, critical: bool
) -> None:
    root = issue("Test Root")
    signer = issue("Web Server", root, uses=uses, critical=critical)  # type: ignore[arg-type]
    authority = Authority(tmp_path, root=root, signer=signer)
    reply = make_reply(signer, make_info(SUMS, 7, NOW))
    assert checked(authority, reply) == ["usage"]
    assert kinds(check_reply(reply, sums=SUMS)) == ["usage"]


def test_a_signature_of_another_key(authority: Authority) -> None:
    forged = issue("Test TSA", uses=USES)
    reply = make_reply(forged, make_info(SUMS, 7, NOW))
    swapped = reply.replace(forged.der, authority.signer.der)
    assert kinds(check_reply(swapped, sums=SUMS, roots=authority.roots))[0] in {"signature", "malformed"}


def test_the_signed_part_must_name_the_certificate(authority: Authority) -> None:
    info = make_info(SUMS, 7, NOW)
    assert checked(authority, make_reply(authority.signer, info, naming="1.2.840.113549.1.9.16.2.12")) == []
    assert checked(authority, make_reply(authority.signer, info, named=authority.root)) == ["signature"]
    assert checked(authority, make_reply(authority.signer, info, naming="1.2.840.113549.1.9.16.2.99")) == [
        "signature"
    ]


@pytest.mark.parametrize("with_roots", [True, False])
def test_another_time_put_into_a_reply(authority: Authority, reply: bytes, *, with_roots: bool) -> None:
    time = str(check_reply(reply, sums=SUMS).time)
    digits = "".join(letter for letter in time[:19] if letter.isdigit()).encode()
    assert reply.count(digits) == 1
    changed = reply.replace(digits, b"2020" + digits[4:])
    facts = check_reply(changed, sums=SUMS, roots=authority.roots if with_roots else None)
    assert kinds(facts) == ["signature"]
    assert str(facts.time).startswith("2020")


def test_a_reply_without_certificates(authority: Authority) -> None:
    reply = make_reply(authority.signer, make_info(SUMS, 7, NOW), certificates=())
    assert kinds(check_reply(reply, sums=SUMS, roots=authority.roots)) == ["signature"]


# -- replies that are none -----------------------------------------------------------------------------------------------

PENDING = der.encode(der.SEQUENCE, (der.encode_integer(3),))


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", "malformed", "empty"),
        (b"<!DOCTYPE html><html><body>Welcome</body></html>", "malformed", "web page"),
        (b"\n  <html>", "malformed", "web page"),
        (b"\x30\x80\x00\x00", "malformed", "definite"),
        (b"\x30\x84\xff\xff\xff\xff", "malformed", "cut off"),
        (b"\x30\x03\x02\x01\x00", "malformed", "no time-stamp reply"),
        (der.encode(der.SEQUENCE, GRANTED), "malformed", "no stamp"),
        (der.encode(der.SEQUENCE, PENDING), "status", "waiting"),
        (b"\x30" * 100_000, "malformed", "no time-stamp reply"),
        (bytes(2 << 20), "malformed", "2,097,152 bytes"),
    ],
)
def test_what_is_no_reply(data: bytes, kind: str, words: str) -> None:
    facts = check_reply(data, sums=SUMS)
    assert kinds(facts) == [kind]
    assert words in facts.problems[0].text
    assert imprint_in(data) is None
    assert facts.time is None


def test_cut_at_every_place(reply: bytes) -> None:
    for length in range(len(reply)):
        assert kinds(check_reply(reply[:length], sums=SUMS)) == ["malformed"]
    assert kinds(check_reply(reply + b"\n", sums=SUMS)) == ["malformed"]


def test_one_byte_changed(authority: Authority, reply: bytes) -> None:
    """What is still trusted says the same: there are bytes around the signed part that mean nothing."""
    good = check_reply(reply, sums=SUMS, roots=authority.roots)
    refused = 0
    for at in range(0, len(reply), 19):
        changed = bytearray(reply)
        changed[at] ^= 0x01
        facts = check_reply(bytes(changed), sums=SUMS, roots=authority.roots)
        refused += not facts.trusted
        assert facts == good or not facts.trusted, f"byte {at}"
    assert refused > len(reply) // 19 * 3 // 4


def test_one_bit_changed_is_read_or_refused(reply: bytes) -> None:
    """Whatever a reply holds, taking it apart ends in its parts or in a refusal."""
    refused = 0
    for at in range(len(reply)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(reply)
            changed[at] ^= bit
            try:
                assert read_reply(bytes(changed)).certificates is not None
            except Refused:
                refused += 1
    assert 0 < refused < 3 * len(reply)


@given(st.binary(max_size=200))
def test_garbage_is_said_to_be_none(data: bytes) -> None:
    assert kinds(check_reply(data, sums=SUMS)) in (["malformed"], ["status"])


# -- roots ---------------------------------------------------------------------------------------------------------------


def test_roots_that_are_none(tmp_path: Path, reply: bytes) -> None:
    path = tmp_path / "roots.pem"
    with pytest.raises(CustodyError, match="trusted certificates"):
        check_reply(reply, sums=SUMS, roots=path)
    for content in (b"", b"nothing", b"\x30\x82" * 100):
        path.write_bytes(content)
        with pytest.raises(CustodyError, match="holds no certificates"):
            check_reply(reply, sums=SUMS, roots=path)
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(CustodyError, match="cannot be read"):
        check_reply(reply, sums=SUMS, roots=path)


def test_roots_of_several_authorities(tmp_path: Path, authority: Authority, reply: bytes) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(b"# ours\n" + issue("Another Root").pem + authority.root.pem + authority.root.pem)
    assert check_reply(reply, sums=SUMS, roots=path).trusted


def test_the_hosts_own_settings_of_openssl_count_for_nothing(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openssl.cnf").write_text("openssl_conf = nowhere\n[nowhere]\nproviders = none\n")
    monkeypatch.setenv("OPENSSL_CONF", str(tmp_path / "openssl.cnf"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.roots))
    other = Authority(tmp_path / "other", root=issue("Another Root"))
    reply = make_reply(authority.signer, make_info(SUMS, 7, NOW))
    assert kinds(check_reply(reply, sums=SUMS, roots=other.roots)) == ["chain"]


# -- DER -----------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.sampled_from([der.SEQUENCE, der.OCTET_STRING, der.CONTEXT_0]))
def test_der_round_trip(content: bytes, tag: int) -> None:
    element = der.whole(der.encode(tag, content), tag)
    assert (element.content, element.encoded) == (content, der.encode(tag, content))


@given(st.integers(min_value=0, max_value=2**200))
def test_der_numbers(value: int) -> None:
    assert der.whole(der.encode_integer(value), der.INTEGER).integer() == value


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x81\x01\x00",  # a length of one byte written with two
        b"\x30\x82\x00\x81" + bytes(0x81),
        b"\x30\x80\x00\x00",  # indefinite
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x1f\x81\x01\x00",  # a tag of several bytes
        b"\x30\x02\x05",
        b"\x30",
    ],
)
def test_der_in_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(der.NotDer):
        der.whole(data, data[0]).children()


@pytest.mark.parametrize("data", [b"\x02\x00", b"\x02\x02\x00\x01", b"\x02\x02\xff\x80", b"\x04\x01\x00"])
def test_der_numbers_in_another_form_are_refused(data: bytes) -> None:
    with pytest.raises(der.NotDer):
        der.whole(data, data[0]).integer()


def test_der_of_too_many_elements_is_refused() -> None:
    with pytest.raises(der.NotDer, match="more than"):
        der.whole(der.encode(der.SEQUENCE, der.encode(der.NULL, b"") * 1001)).children()
