# SPDX-License-Identifier: Apache-2.0
"""Bare records on the command line: formats and delimiters."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.cli import bare
from nerv.cli.bare import Format, messages, record, unescaped
from nerv.client.topics import Record
from nerv.errors import Invalid

FOUND = Record(b"v\x00", b"k", [("a", b"1"), ("b", None)], 3, 42, 1385000000000)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("%s", b"v\x00"),
        ("%k:%s\\n", b"k:v\x00\n"),
        ("%t/%p/%o %T", b"t/3/42 1385000000000"),
        ("%S %K %h", b"2 1 a=1,b="),
        ("100%%\\t\\\\", b"100%\t\\"),
        ("plain ü", "plain ü".encode()),
    ],
)
def test_each_sign_is_what_kcat_prints(form: str, line: bytes) -> None:
    """Bytes as they are."""
    assert Format(form).line("t", FOUND) == line


def test_what_is_not_there_has_size_minus_one() -> None:
    """And prints as nothing."""
    assert Format("[%s|%k|%S|%K]").line("t", Record(None, None, (), 0, 0, 0)) == b"[||-1|-1]"


@pytest.mark.parametrize("form", ["%x", "%", "\\q", "a\\"])
def test_a_wrong_format_is_refused_before_anything_is_read(form: str) -> None:
    """With the signs that there are."""
    with pytest.raises(Invalid, match="--format"):
        Format(form)


@given(
    st.lists(st.binary(max_size=50).filter(lambda one: b"\r\n" not in one and not one.endswith(b"\r"))),
    st.integers(1, 7),
)
def test_messages_are_what_stands_between_delimiters(wanted: list[bytes], piece: int) -> None:
    """However the stream is cut, and with or without a delimiter behind the last one."""

    class Slow(io.BytesIO):
        """Gives a few bytes at a time."""

        def read1(self, size: int | None = -1) -> bytes:
            return self.read(piece)

    assert list(messages(Slow(b"".join(one + b"\r\n" for one in wanted)), b"\r\n")) == wanted
    if wanted and wanted[-1]:
        assert list(messages(Slow(b"\r\n".join(wanted)), b"\r\n")) == wanted


def test_a_message_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever comes."""
    monkeypatch.setattr(bare, "LONGEST", 100)
    with pytest.raises(Invalid, match="--delimiter"):
        list(messages(io.BytesIO(b"x" * 200), b"\n"))


@pytest.mark.parametrize(
    ("message", "key", "split", "wanted"),
    [
        (b"a:b:c", None, b":", (b"a", b"b:c")),
        (b"abc", None, b":", (None, b"abc")),
        (b"a:", None, b":", (b"a", None)),
        (b"abc", "k", None, (b"k", b"abc")),
        (b"", "k", None, (b"k", b"")),
    ],
)
def test_a_key_is_given_or_stands_before_its_delimiter(
    message: bytes, key: str | None, split: bytes | None, wanted: tuple[bytes | None, bytes | None]
) -> None:
    """A key with nothing behind it deletes."""
    found = record(message, key, split, [("h", b"1")], 2)
    assert (found.key, found.value, found.headers, found.partition) == (*wanted, [("h", b"1")], 2)


def test_escapes_are_those_of_a_shell() -> None:
    """Line breaks, tabs, NUL, the backslash itself."""
    assert unescaped("a\\nb\\t\\0\\\\", "--x") == "a\nb\t\0\\"
