"""What is damaged, and how it is then read: each subject draws a `Case` from a folder of valid things."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from damage import NASTY_TEXTS, arguments, documents, files, garbled, written
from hypothesis import strategies as st

Place = Callable[[Path], None]
"""Puts something into the folder."""


@dataclass
class Case:
    """One damaged input and the command that reads it. `{}` in an argument stands for the folder."""

    command: list[str]
    damage: dict[str, bytes] = field(default_factory=dict)
    """New contents of files, by their place in the folder."""
    special: dict[str, str] = field(default_factory=dict)
    """Things that are no plain files: fifo, folder, dangling, loop, null, gone."""

    def placed(self, folder: Path) -> list[str]:
        """Damage the folder; the command line to run."""
        for name, content in self.damage.items():
            (folder / name).write_bytes(content)
        for name, kind in self.special.items():
            _special(folder / name, kind)
        return [part.replace("{}", str(folder)) for part in self.command]


def _special(path: Path, kind: str) -> None:
    if path.is_dir() and not path.is_symlink():
        path = path / "inside"
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("dangling", "loop", "null", "zero"):
        target = {"dangling": "nowhere", "loop": path.name, "null": "/dev/null", "zero": "/dev/zero"}[kind]
        path.symlink_to(target)


def one_of(name: str, folder: Path, *commands: list[str]) -> st.SearchStrategy[Case]:
    """A JSON file of the folder damaged, and one of the commands."""
    return st.builds(
        lambda content, command: Case(list(command), {name: content}),
        files((folder / name).read_bytes()),
        st.sampled_from(commands),
    )


TEXT = ["--text", "{}/text.txt", "--length", "16", "--json"]
SHORT = ["--calibration", "{}/text.txt", "--length", "16", "--json"]
EVALUATE = ["evaluate", "{}/dense", *TEXT]
INSPECT = ["inspect", "--dense", "{}/dense", "--pruned", "{}/pruned", *SHORT]
PRUNE = ["prune", "{}/dense", "--method", "magnitude", "--out", "{}/out", *SHORT]
RESTORE = ["restore", "--dense", "{}/dense", "--pruned", "{}/pruned", "--steps", "2", "--out", "{}/out", *SHORT]
ADAPTER = ["evaluate", "{}/pruned", "--adapter", "{}/adapter", *TEXT]


def configs(folder: Path) -> st.SearchStrategy[Case]:
    """A model's settings."""
    return st.one_of(
        one_of("dense/config.json", folder, EVALUATE, INSPECT, PRUNE),
        one_of("pruned/config.json", folder, INSPECT, RESTORE),
        one_of("dense/generation_config.json", folder, EVALUATE, PRUNE),
    )


def _header(content: bytes) -> tuple[dict[str, object], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _headed(header: object, rest: bytes) -> bytes:
    text = written(header)
    return len(text).to_bytes(8, "little") + text + rest


def weights(folder: Path) -> st.SearchStrategy[Case]:
    """A model's tensors: their file, its header, and the index of a sharded one."""
    content = (folder / "dense/model.safetensors").read_bytes()
    header, rest = _header(content)
    damaged = st.one_of(garbled(content), documents(header).map(lambda new: _headed(new, rest)))
    whole = st.builds(
        lambda new, command: Case(list(command), {"dense/model.safetensors": new}),
        damaged,
        st.sampled_from([EVALUATE, INSPECT]),
    )
    sharded = ["evaluate", "{}/sharded", *TEXT]
    return st.one_of(whole, one_of("sharded/model.safetensors.index.json", folder, sharded))


def tokenizers(folder: Path) -> st.SearchStrategy[Case]:
    """How text becomes ids."""
    return st.one_of(
        one_of("dense/tokenizer.json", folder, EVALUATE, INSPECT),
        one_of("pruned/tokenizer.json", folder, INSPECT),
        one_of("dense/tokenizer_config.json", folder, EVALUATE, PRUNE),
    )


def adapters(folder: Path) -> st.SearchStrategy[Case]:
    """What a restoration is kept in."""
    name = next(path.name for path in (folder / "adapter").glob("*.safetensors"))
    content = (folder / "adapter" / name).read_bytes()
    header, rest = _header(content)
    damaged = st.one_of(garbled(content), documents(header).map(lambda new: _headed(new, rest)))
    return st.one_of(
        one_of("adapter/restorelcc.json", folder, ADAPTER),
        damaged.map(lambda new: Case(list(ADAPTER), {f"adapter/{name}": new})),
    )


def head_maps(folder: Path) -> st.SearchStrategy[Case]:
    """Which heads a narrower model kept."""
    command = ["inspect", "--dense", "{}/dense", "--pruned", "{}/narrow", *SHORT]
    return one_of("narrow/kept_heads.json", folder, command)


def texts(folder: Path) -> st.SearchStrategy[Case]:
    """What is read: plain, and a row a line."""
    plain = garbled((folder / "text.txt").read_bytes())
    rows = (folder / "rows.jsonl").read_bytes()
    lines = rows.splitlines()
    row = documents(json.loads(lines[0])).map(written)
    damaged = st.one_of(garbled(rows), row.map(lambda line: b"\n".join([line, *lines[1:]])))
    responses = [*RESTORE[:-1], "--loss", "response", "--json"]
    responses[responses.index("{}/text.txt")] = "{}/rows.jsonl"
    return st.one_of(
        plain.map(lambda new: Case(list(EVALUATE), {"text.txt": new})),
        damaged.map(
            lambda new: Case(["evaluate", "{}/dense", "--text", "{}/rows.jsonl", *TEXT[2:]], {"rows.jsonl": new})
        ),
        damaged.map(lambda new: Case(list(responses), {"rows.jsonl": new})),
    )


OPTIONS = {
    "evaluate": (EVALUATE, "stride windows length text device dtype adapter"),
    "inspect": (INSPECT, "top windows length seed scores positions contrast csv"),
    "prune": (PRUNE, "sparsity pattern ratio allocation method windows seed"),
    "restore": (
        RESTORE,
        "heads score components loss lr unit steps epochs batch start patience windows length seed format name",
    ),
}
ITSELF = ("text", "csv", "adapter", "device")  # never a path of this machine, and nothing that loads for long
SLOW = ("steps", "epochs", "windows")
"""Large numbers are allowed here, and would take as long as they say."""


def options(folder: Path) -> st.SearchStrategy[Case]:
    """Values of options."""

    @st.composite
    def drawn(draw: st.DrawFn) -> Case:
        command, names = OPTIONS[draw(st.sampled_from(sorted(OPTIONS)))]
        name, value = draw(st.sampled_from(names.split())), draw(arguments())
        if name in SLOW and value.strip("+").replace(".", "").isdigit() and float(value) > 50:
            value = "3"
        if name in ITSELF and ("/" in value or value in ("", " ", ".")):
            value = "nothing"
        value = f"{{}}/{value}" if name == "csv" else value
        return Case([*command, f"--{name}={value}"])

    return drawn()


def names(folder: Path) -> st.SearchStrategy[Case]:
    """What models and texts are called."""
    odd = [*NASTY_TEXTS, ".", "..", "~", "a/b", "a/b/c", "a//b", "a@b", "@", "hf:", "hf:a:b:c"]
    called = st.one_of(st.sampled_from(odd), st.text(max_size=12)).filter(
        lambda name: "\x00" not in name and not name.startswith(("-", "/dev"))
    )
    encodable = called.filter(lambda text: text.encode("utf-8", "ignore").decode() == text)
    return st.one_of(
        encodable.map(lambda name: Case(["evaluate", name, *TEXT])),
        encodable.map(lambda name: Case(["evaluate", "{}/dense", "--text", name, "--length", "16", "--json"])),
        encodable.map(lambda name: Case(["inspect", "--dense", "{}/dense", "--pruned", name, *SHORT])),
        encodable.map(lambda name: Case(["evaluate", "{}/pruned", "--adapter", f"{{}}/{name}", *TEXT])),
    )


def runs(folder: Path) -> st.SearchStrategy[Case]:
    """Restorations that are kept."""
    run = next(path for path in (folder / "data/restorelcc/runs").iterdir())
    return one_of(str((run / "config.json").relative_to(folder)), folder, ["runs", "--json"], ["runs"])


def special_files(folder: Path) -> st.SearchStrategy[Case]:
    """Pipes, devices, folders and dead links where a file or a folder is wanted."""
    kinds = st.sampled_from(["fifo", "folder", "dangling", "loop", "null", "zero", "gone"])
    read = {"text.txt": EVALUATE, "dense/config.json": EVALUATE, "dense/model.safetensors": EVALUATE,
            "dense/tokenizer.json": EVALUATE, "adapter/restorelcc.json": ADAPTER, "narrow/kept_heads.json": INSPECT,
            "dense/generation_config.json": PRUNE}  # fmt: skip
    wanted = {"out": PRUNE, "table.csv": [*INSPECT, "--csv", "{}/table.csv"]}
    return st.one_of(
        st.builds(
            lambda name, kind: Case(list(read[name]), special={name: kind}), st.sampled_from(sorted(read)), kinds
        ),
        st.builds(
            lambda name, kind: Case(list(wanted[name]), special={name: kind}), st.sampled_from(sorted(wanted)), kinds
        ),
    )


SUBJECTS: dict[str, tuple[Callable[[Path], st.SearchStrategy[Case]], float]] = {
    "configs": (configs, 0.16),
    "weights": (weights, 0.12),
    "tokenizers": (tokenizers, 0.08),
    "adapters": (adapters, 0.08),
    "head maps": (head_maps, 0.06),
    "texts": (texts, 0.14),
    "options": (options, 0.16),
    "names": (names, 0.08),
    "runs": (runs, 0.06),
    "special files": (special_files, 0.06),
}
"""Each with its share of the cases."""
