"""What is cached and garbled by as little as a bit is found out, and made again."""

import random

import pytest
from conftest import make_tokens, noisy

from restorelcc.demo import pair as demo
from restorelcc.errors import LoadError
from restorelcc.progress import finish
from restorelcc.storage.digests import DIGESTS, check_seal, seal


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "below").mkdir()
    for name, content in (("a", b"one"), ("below/b", b"two" * 100), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    seal(tmp_path)
    check_seal(tmp_path)
    return tmp_path


def flipped(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a").write_bytes(b"onf"),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "a").rename(folder / "c"),
        lambda folder: (folder / "new").write_bytes(b""),
        lambda folder: (folder / "below" / "b").write_bytes(b""),
        lambda folder: (folder / DIGESTS).unlink(),
        lambda folder: (folder / DIGESTS).write_text('{"format": 1}'),
        lambda folder: (folder / DIGESTS).write_text('{"format": 1, "sha256": ["a"]}'),
        lambda folder: (folder / DIGESTS).write_text('{"format": 2, "sha256": {}}'),
        lambda folder: (folder / DIGESTS).write_text("["),
    ],
)
def test_whatever_is_not_as_it_was_written_is_damaged(sealed, damage):
    damage(sealed)
    with pytest.raises(LoadError):
        check_seal(sealed)


def test_a_cached_model_of_which_a_bit_differs_is_made_again(pair, monkeypatch):
    tokens, made = make_tokens(), []

    def prune(*_):
        made.append(1)
        yield from ()
        return noisy(pair.dense)

    def opened():
        return finish(demo.demo_pair(pair.dense, pair.tokenizer, tokens)).pruned

    monkeypatch.setattr(demo, "prune", prune)
    expected = opened()
    folder = demo.cached_pruned(pair.dense, tokens, demo.DEFAULT)
    draw = random.Random(0)
    opened()
    assert len(made) == 1  # what is sound is read
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        flipped(folder / name, draw)
        before = len(made)
        again = opened()
        # A seal may be written otherwise and say the same.
        assert len(made) == before + 1 or name == DIGESTS
        assert all((a == b).all() for a, b in zip(again.parameters(), expected.parameters(), strict=True))
