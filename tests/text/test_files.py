"""Files of every kind that people have: read right, or refused by what they are."""

import bz2
import gzip
import json
import lzma
import os

import pandas as pd
import pytest

from restorelcc.errors import TextError
from restorelcc.text import files as files_module
from restorelcc.text.contrast import contrast_items
from restorelcc.text.sources import Document, check_named, read, texts

STORIES = ["the dog ran", "a cat sat\nin the park"]


def lines(*rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


ROWS = [{"text": story, "id": number} for number, story in enumerate(STORIES)]
TABLE = b'"text","id"\n"the dog ran",0\n"a cat sat\nin the park",1\n'
SAME = {
    "a.txt": b"the dog ran\n<|endoftext|>\na cat sat\nin the park",
    "crlf.txt": b"the dog ran\r\n<|endoftext|>\r\na cat sat\r\nin the park\r\n",
    "mark.txt": b"\xef\xbb\xbfthe dog ran<|endoftext|>\xef\xbb\xbfa cat sat\nin the park",
    "CAPITALS.TXT": b"the dog ran<|endoftext|>a cat sat\nin the park",
    "bare": b"the dog ran<|endoftext|>a cat sat\nin the park",
    "wiki.test.raw": b"the dog ran<|endoftext|>a cat sat\nin the park",
    "a.txt.gz": gzip.compress(b"the dog ran<|endoftext|>a cat sat\nin the park", mtime=0),
    "a.jsonl": lines(*ROWS),
    "crlf.jsonl": lines(*ROWS).replace(b"\n", b"\r\n") + b"\r\n",
    "mark.jsonl": b"\xef\xbb\xbf" + lines(ROWS[0]) + b"\n\xef\xbb\xbf" + lines(ROWS[1]),
    "a.ndjson": lines(*ROWS),
    "A.JSONL": lines(*ROWS),
    "strings.jsonl": lines(*STORIES),
    "a.jsonl.gz": gzip.compress(lines(*ROWS)),
    "a.jsonl.bz2": bz2.compress(lines(*ROWS)),
    "a.jsonl.xz": lzma.compress(lines(*ROWS)),
    "list.json": json.dumps(ROWS, indent=1).encode(),
    "strings.json": json.dumps(STORIES).encode(),
    "inner.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "lines.json": lines(*ROWS),
    "a.csv": TABLE,
    "crlf.csv": b"\xef\xbb\xbf" + TABLE.replace(b"\n", b"\r\n"),
    "a.tsv": TABLE.replace(b",", b"\t"),
    "capitals.csv": TABLE.replace(b"text", b"Text"),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_stories_whatever_they_are_written_in(tmp_path, name):
    (tmp_path / name).write_bytes(SAME[name])
    assert [document.text for document in read(str(tmp_path / name))] == STORIES


def test_parquet_has_its_rows(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    assert [document.text for document in read(str(tmp_path / "a.parquet"))] == STORIES
    pd.DataFrame(
        {"messages": [[{"role": "user", "content": "who ran"}, {"role": "assistant", "content": "a dog"}]]}
    ).to_parquet(tmp_path / "chat.parquet")
    assert read(str(tmp_path / "chat.parquet")) == [Document("a dog", "who ran\n")]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_a_line_of_json_ends_where_the_line_does_and_nowhere_else(tmp_path, separator):
    story = f"the dog{separator}ran"
    raw = json.dumps({"text": story}, ensure_ascii=False)
    if separator in "\x0b\x0c\x1c":  # JSON writes control characters by number
        raw = json.dumps({"text": story})
    (tmp_path / "a.jsonl").write_text(f"{raw}\n{raw}\n", encoding="utf-8")
    assert [document.text for document in read(str(tmp_path / "a.jsonl"))] == [story] * 2


def test_words_that_mean_nothing_elsewhere_are_words_here(tmp_path):
    (tmp_path / "a.csv").write_text("text\nNA\nnull\nNone\n12\n")
    assert [document.text for document in read(str(tmp_path / "a.csv"))] == ["NA", "null", "None", "12"]


def test_a_field_is_named_after_a_colon_and_may_be_inside_another(tmp_path):
    folder = tmp_path / "with:colon"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines({"text": "x", "meta": {"note": "b"}, "a.b": "c"})))
    assert read(f"{folder}/a.jsonl.gz") == [Document("x")]
    assert read(f"{folder}/a.jsonl.gz:meta.note") == [Document("b")]
    assert read(f"{folder}/a.jsonl.gz:a.b") == [Document("c")]
    (tmp_path / "a.csv").write_text("story,text\nthe dog,no\n")
    assert read(f"{tmp_path}/a.csv:story") == [Document("the dog")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pdf", b"%PDF", r"is a \.pdf file.*\.jsonl, .*\.parquet"),
        ("a.arrow", b"ARROW1", r"is a \.arrow file"),
        ("a.zip.gz", b"", r"is a \.zip file"),
        ("rows.txt", lines(*ROWS), r"scored with their braces.*\.jsonl"),
        ("rows", json.dumps(ROWS, indent=2).encode(), "scored with their braces"),
        ("wide.txt", "the dog".encode("utf-16"), "is UTF-16 text.*iconv"),
        ("wide.jsonl", json.dumps(ROWS[0]).encode("utf-16"), "is UTF-16 text"),
        ("wider.txt", "the dog".encode("utf-32"), "is UTF-32 text"),
        ("bare.txt", "the dog".encode("utf-16-le"), "NUL bytes, first byte 1"),
        ("nul.txt", b"the dog\x00 ran", "NUL bytes, first byte 7"),
        ("latin.csv", b"text\ncaf\xe9\n", r"not UTF-8 text \(byte 8\)"),
        ("a.txt.gz", b"no gzip", "cannot be unpacked"),
        ("cut.txt.gz", gzip.compress(b"the dog ran", mtime=0)[:-9], "cannot be unpacked"),
        ("cut.jsonl", lines(*ROWS)[:-5], "line 2 is not JSON"),
        ("deep.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("unquoted.csv", b"text\nonce, there was\n", "more values than the 1 names"),
        ("open.csv", b'text\n"once there was\nand so on\n', "is no table"),
        ("a.parquet", b"PAR1 or so", "no Parquet file"),
        ("empty.jsonl", b"", "holds no text"),
        ("empty.json", b"[]", "holds no text"),
        ("blank.jsonl", b'{"text": " "}', "holds no text"),
        ("null.jsonl", b'{"text": null}', "has no text in text"),
        ("long.jsonl", lines({f"name{number}": 1 for number in range(500)}), "it has name0.*…"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_it_is(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=says) as caught:
        read(str(tmp_path / name))
    assert len(str(caught.value)) < 450
    assert "\n" not in str(caught.value)


def test_folders_fields_and_names_that_are_none(tmp_path):
    with pytest.raises(TextError, match="is a folder"):
        read(str(tmp_path))
    (tmp_path / "a.txt").write_text("the dog")
    with pytest.raises(TextError, match="plain text and has no field 'text'"):
        read(f"{tmp_path}/a.txt:text")
    for name in ("~nobody/a.txt", "a" * 5000, "a\x00b", f"{tmp_path}/none.jsonl:text"):
        with pytest.raises(TextError, match="no text file"):
            read(name)
    with pytest.raises(TextError, match="questions with answers are rows"):
        contrast_items(f"{tmp_path}/a.txt")


def test_halves_of_characters_are_no_text_that_a_tokenizer_takes(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_text('{"text": "the \\ud83d dog \\ud83d\\ude00"}')
    (document,) = read(str(tmp_path / "a.jsonl"))
    assert document.text == "the \ufffd dog 😀"
    assert tokenizer(document.text).input_ids


def test_all_rows_of_a_file_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(*({"text": f"story {number}"} for number in range(6_000))))
    found = texts(str(tmp_path / "a.jsonl"))
    assert len(found.documents) == 6_000
    assert found.notes == ()


def test_rows_without_text_among_others_are_left_out_and_counted(tmp_path):
    rows = [{"text": "the dog"}, {"text": None}, {"text": "a cat"}, {"title": "x"}, {"text": "  "}]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows))
    found = texts(str(tmp_path / "a.jsonl"))
    assert [document.text for document in found.documents] == ["the dog", "a cat"]
    (note,) = found.notes
    assert note.startswith("3 of 5 rows")
    assert "line 2" in note


@pytest.mark.parametrize("name", ["/proc/self/environ", "/proc/self/status", "/proc/self/task/../environ", "link.txt"])
def test_what_the_operating_system_says_of_itself_is_no_text(tmp_path, name):
    (tmp_path / "link.txt").symlink_to("/proc/self/environ")
    for source in (str(tmp_path / name), f"{tmp_path / name}:text"):
        with pytest.raises(TextError, match="what the operating system says of itself"):
            read(source)
        with pytest.raises(TextError, match="what the operating system says of itself"):
            contrast_items(source)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "pipe.txt", "device.txt"])
def test_pipes_and_devices_are_no_files(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "device.txt").symlink_to("/dev/zero")
    with pytest.raises(TextError, match="There is no text file"):
        read(str(tmp_path / name))


@pytest.mark.parametrize(("name", "is_text"), [("a.txt", True), ("a.JSONL", True), ("a.txt.gz", True), ("token", False),
                                               (".netrc", False), ("key.gz", False), ("a.pem", False)])  # fmt: skip
def test_a_servers_visitors_name_files_that_say_they_are_text(tmp_path, name, is_text):
    (tmp_path / name).write_bytes(b"the dog ran")
    if is_text:
        check_named(str(tmp_path / name))
    else:
        with pytest.raises(TextError):
            check_named(str(tmp_path / name))


def test_other_sources_of_text_are_named_as_ever():
    for source in ("demo", "self", "c4", "hf:a/b", "/nowhere"):
        check_named(source)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_few_packed_bytes_do_not_fill_the_memory(tmp_path, monkeypatch, suffix, pack):
    path = tmp_path / f"text.txt{suffix}"
    path.write_bytes(pack(b"a" * 10**6))
    assert files_module.plain(path) == ["a" * 10**6]
    monkeypatch.setattr(files_module, "LARGEST", 10**6 - 1)
    with pytest.raises(TextError, match="more than 999,999 bytes"):
        files_module.plain(path)
