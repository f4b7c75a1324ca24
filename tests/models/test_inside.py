"""The weights of a model are those in its folder."""

import json
import shutil

import pytest

from restorelcc.errors import LoadError
from restorelcc.models.loading import load_model, load_tokenizer


@pytest.fixture
def sharded(pair, tmp_path):
    """A model in several files, and one of these files outside too."""
    folder = tmp_path / "models" / "sharded"
    pair.dense.save_pretrained(folder, max_shard_size="10KB")
    pair.tokenizer.save_pretrained(folder)
    shard = min(folder.glob("*.safetensors"))
    shutil.copy(shard, tmp_path / "models" / shard.name)
    return folder, shard


def renamed(folder, shard, name):
    index = folder / "model.safetensors.index.json"
    facts = json.loads(index.read_text())
    named = {key: name if file == shard.name else file for key, file in facts["weight_map"].items()}
    index.write_text(json.dumps(facts | {"weight_map": named}))


@pytest.mark.parametrize("name", ["../{}", "{parent}/{}", "./../{}", "below/../../{}"])
def test_an_index_that_names_files_elsewhere_is_refused(sharded, name):
    folder, shard = sharded
    (folder / "below").mkdir()
    renamed(folder, shard, name.format(shard.name, parent=folder.parent))
    with pytest.raises(LoadError, match=r"weight_map.*outside the model's folder"):
        load_model(str(folder))


def test_a_link_that_leads_elsewhere_is_refused(sharded):
    folder, shard = sharded
    shard.unlink()
    shard.symlink_to(folder.parent / shard.name)
    with pytest.raises(LoadError, match="outside the model's folder"):
        load_model(str(folder))


def test_a_folder_that_leads_elsewhere_is_refused(sharded):
    folder, shard = sharded
    (folder / "below").symlink_to(folder.parent)
    renamed(folder, shard, f"below/{shard.name}")
    with pytest.raises(LoadError, match="outside the model's folder"):
        load_model(str(folder))


def test_links_inside_the_folder_and_to_the_folder_are_followed(sharded, pair):
    folder, shard = sharded
    shard.rename(folder / "first.part")
    shard.symlink_to("first.part")
    (folder.parent / "alias").symlink_to(folder)
    model = load_model(str(folder.parent / "alias"))
    assert all((a == b).all() for a, b in zip(model.parameters(), pair.dense.parameters(), strict=True))


def test_the_hubs_cache_links_to_its_own_blobs(sharded, pair):
    folder, _ = sharded
    cache = folder.parent / "models--somebody--model"
    snapshot = cache / "snapshots" / ("0" * 40)
    for part in (cache / "blobs", snapshot):
        part.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(cache / "blobs" / f"{number}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    model = load_model(str(snapshot))
    assert all((a == b).all() for a, b in zip(model.parameters(), pair.dense.parameters(), strict=True))
    assert load_tokenizer(str(snapshot)).vocab_size == pair.tokenizer.vocab_size


@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors", "pytorch_model.bin", "x.index.json"])
def test_a_link_to_itself_is_one_line(folders, name):
    (folders[0] / name).unlink(missing_ok=True)
    (folders[0] / name).symlink_to(name)
    with pytest.raises(LoadError, match="loop"):
        load_model(str(folders[0]))
