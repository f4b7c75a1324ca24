"""What the hub is given of an export: its card's front matter, and its files; what keeps it from being uploaded."""

import pytest
import yaml
from commands import call

from restorelcc.artifacts.card import model_card
from restorelcc.artifacts.publishing import push as publishing
from restorelcc.artifacts.publishing.front import dataset, licence
from restorelcc.errors import SettingError, WriteError

SIDE = {"stderr": 0.5, "tokens": 900}
ABOUT = {
    "dense": "Qwen/Qwen3-0.6B",
    "pruned": "/home/somebody/secret/qwen-pruned",
    "pruning": {"method": "wanda", "sparsity": 0.5, "calibration": "c4", "tokens": 4096},
    "calibration": {"source": "hf:owner/set/config:train", "windows": 115, "length": 2048},
    "judged_on": {"text": "wikitext2", "windows": 8},
    "evaluation": "the test split",
    "figures": {
        "pruned": {"perplexity": 12.5, **SIDE},
        "restored": {"perplexity": 11.25, **SIDE},
        "kl": {"pruned": {"nats": 0.3, "stderr": 0.1}, "restored": {"nats": 0.2, "stderr": 0.1}},
        "recovered_share": 0.25,
        "nearer": None,
        "elsewhere": {"text": "/home/somebody/else.txt", "restored": {"perplexity": float("inf"), **SIDE}},
    },
    "tasks": [{"task": "piqa", "metric": "acc_norm", "models": {"restored": {"acc_norm": 0.61}, "dense": {}}}],
}


def front(kind, about):
    return yaml.safe_load(model_card(kind, about, {}).split("---\n")[1])


def measured(facts):
    results = facts["model-index"][0]["results"]
    return {(row["dataset"]["type"], metric["type"]): metric["value"] for row in results for metric in row["metrics"]}


def test_front_matter_has_what_is_known_and_was_measured():
    facts = front("adapter", ABOUT)
    assert facts["base_model"] == "Qwen/Qwen3-0.6B"
    assert facts["library_name"] == "transformers"
    assert facts["tags"] == ["pruned", "restorelcc"]
    assert facts["datasets"] == ["owner/set", "allenai/c4"]
    assert "license" not in facts
    assert measured(facts) == {
        ("Salesforce/wikitext", "perplexity"): 11.25,
        ("Salesforce/wikitext", "kl"): 0.2,
        ("Salesforce/wikitext", "recovered_share"): 0.25,
        ("piqa", "acc_norm"): 0.61,
    }
    assert "somebody" not in str(facts)


def test_a_pruned_checkpoint_has_its_own_figures_and_nothing_is_made_up():
    assert measured(front("pruned", ABOUT)) == {
        ("Salesforce/wikitext", "perplexity"): 12.5,
        ("Salesforce/wikitext", "kl"): 0.3,
    }
    bare = front("checkpoint", {"dense": "/home/somebody/model", "calibration": {"source": "demo"}})
    assert bare == {"library_name": "transformers", "tags": ["pruned", "restorelcc"]}


def test_the_licence_is_that_of_the_base_where_its_card_says_one(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert licence(str(tmp_path)) == "apache-2.0"
    assert front("checkpoint", {"dense": str(tmp_path)})["license"] == "apache-2.0"
    for said in ("license: [1, 2]", ": : :", "license: 'a b'"):
        card.write_text("\n".join(["---", said, "---", ""]))
        assert licence(str(tmp_path)) is None
    card.unlink()
    assert licence(str(tmp_path)) is None
    assert licence("owner/name-that-is-nowhere") is None


@pytest.mark.parametrize(
    ("source", "of"),
    [("wikitext2", "Salesforce/wikitext"), ("hf:a/b/c:train:text", "a/b"), ("demo", ""), ("x.txt", ""), (None, "")],
)
def test_only_texts_of_the_hub_are_datasets(source, of):
    assert dataset(source) == of


# --- the upload -------------------------------------------------------------------------------------------------


class Api:
    """Stands in for the hub's."""

    calls = ()
    fails = None

    def create_repo(self, name, **given):
        if self.fails:
            raise self.fails
        Api.calls = (*Api.calls, ("create", name, given))
        return f"https://huggingface.co/{name}"

    def upload_folder(self, **given):
        files = sorted(path.name for path in given["folder_path"].iterdir())
        Api.calls = (*Api.calls, ("upload", given["repo_id"], files))


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(publishing, "HfApi", Api)
    monkeypatch.setattr(publishing, "get_token", lambda: "hf_x")
    monkeypatch.setattr("restorelcc.hf.hub.reachable", lambda: True)
    monkeypatch.setattr(Api, "calls", ())
    monkeypatch.setattr(Api, "fails", None)
    return Api


def test_all_files_go_into_a_repository_that_is_private_at_first(api, tmp_path):
    (tmp_path / "README.md").write_text("---\n---\n")
    assert publishing.push(tmp_path, "me/model") == "https://huggingface.co/me/model"
    publishing.push(tmp_path, "me/open", private=False)
    assert [call[:2] for call in api.calls] == [
        ("create", "me/model"), ("upload", "me/model"), ("create", "me/open"), ("upload", "me/open")
    ]  # fmt: skip
    assert [call[2]["private"] for call in api.calls[::2]] == [True, False]
    assert api.calls[1][2] == ["README.md"]


def test_what_keeps_it_from_the_hub_is_one_line(api, tmp_path, monkeypatch):
    api.fails = ValueError("403 Forbidden: no right to create\n\nmuch more")
    with pytest.raises(WriteError, match=r"was not uploaded \(403 Forbidden: no right") as refused:
        publishing.push(tmp_path, "me/model")
    assert "\n" not in str(refused.value)
    for name in ("model", "a/b/c", "../x", "me/ model", ""):
        with pytest.raises(SettingError, match="OWNER/NAME"):
            publishing.check_push(name)
    monkeypatch.setattr("restorelcc.hf.hub.reachable", lambda: False)
    with pytest.raises(WriteError, match="cannot be reached"):
        publishing.check_push("me/model")
    monkeypatch.setattr(publishing, "get_token", lambda: None)
    with pytest.raises(WriteError, match="HF_TOKEN"):
        publishing.check_push("me/model")


def test_restore_uploads_what_it_wrote_and_asks_before_the_work(api, pair_args, tmp_path, monkeypatch):
    few = ["--steps", "1", "--windows", "12", "--score", "relative_error", "--elsewhere", ""]
    done = call("restore", *pair_args, *few, "--out", tmp_path / "out", "--push", "me/model")
    assert done.exit_code == 0, done.stderr
    assert "Uploaded to https://huggingface.co/me/model" in done.stderr
    assert "README.md" in api.calls[1][2]
    monkeypatch.setattr(publishing, "get_token", lambda: None)
    refused = call("restore", *pair_args, *few, "--out", tmp_path / "other", "--push", "me/model")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "other").exists()


def test_prune_uploads_its_checkpoint_too(api, folders, text, tmp_path):
    options = ["--method", "magnitude", "--calibration", text, "--length", 16, "--push", "me/sparse", "--public"]
    done = call("prune", folders[0], *options, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert api.calls[0] == ("create", "me/sparse", {"private": False, "exist_ok": True})
    assert {"README.md", "model.safetensors"} <= set(api.calls[1][2])
    refused = call("prune", folders[0], *options[:-2], "none", "--out", tmp_path / "other")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "other").exists()
