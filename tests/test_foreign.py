"""Whatever a foreign thing holds or raises comes out as one error of ours, on one line."""

import builtins
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restorelcc.errors import LONGEST, LoadError, RestoreLCCError, TextError
from restorelcc.foreign import check_regular, content_of, document_of, foreign

RAISED = [
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning | ExceptionGroup)
    and not issubclass(kind, UnicodeError)  # made of five things
]  # fmt: skip


class PanicException(BaseException):
    """As libraries written in Rust raise it."""


@given(st.sampled_from([*RAISED, PanicException]), st.text())
def test_whatever_is_raised_becomes_the_error_that_is_asked_for(kind, said):
    with pytest.raises(LoadError) as caught, foreign(lambda reason: LoadError(f"It is damaged ({reason}).")):
        raise kind(said)
    assert isinstance(caught.value.__cause__, kind)
    assert str(caught.value).startswith("It is damaged (")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_end_that_somebody_asked_for_is_none(end):
    with pytest.raises(end), foreign(lambda reason: LoadError(reason)):
        raise end


def test_an_error_of_ours_says_more_than_another_in_its_place():
    with pytest.raises(TextError, match="Give more"), foreign(lambda reason: LoadError(reason)):
        raise TextError("Give more text.")


@given(st.text(), st.text(min_size=0, max_size=20), st.integers(1, 2_000))
def test_a_message_is_one_line_whatever_it_quotes(start, part, times):
    message = str(RestoreLCCError(f"{start}{part * times}"))
    assert len(message) <= LONGEST
    assert message.isprintable()
    assert len(message.splitlines()) <= 1


def test_both_ends_of_a_long_message_stay():
    message = str(LoadError(f"Model {'x' * 9_000} cannot be read. Give another."))
    assert message.startswith("Model xxx")
    assert message.endswith("cannot be read. Give another.")


def test_what_has_no_end_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name in ("pipe", "device", "loop", "folder", "socket", "nowhere"):
        with pytest.raises((OSError, ValueError)):
            content_of(tmp_path / name)
    (tmp_path / "file").write_bytes(bytes(100))
    assert content_of(tmp_path / "file", 100) == bytes(100)
    with pytest.raises(ValueError, match="100 bytes"):
        check_regular(tmp_path / "file", 99)


NONE = ["[" * 100_000, "[" * 101 + "]" * 101, "1" * 5_000, "{", "", "\ud800", '{"a": 1e999', "nul"]


@pytest.mark.parametrize("content", NONE, ids=range(len(NONE)))
def test_a_document_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "document.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(TextError), foreign(lambda reason: TextError(f"{path}: {reason}")):
        document_of(path)
