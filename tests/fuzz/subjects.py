"""What is damaged on disk, and the command that then reads it: subjects draw a `Case` from a folder of valid things."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from damage import NASTY_TEXTS, PACKERS, arguments, documents, files, garbled, numbers, passable, written
from hypothesis import strategies as st

Call = Callable[[Path], object]
"""Reads something of a folder by the engine itself."""


@dataclass
class Case:
    """One damaged input and the command, or the call, that reads it. `{}` in an argument stands for the folder."""

    command: list[str] = field(default_factory=list)
    damage: dict[str, bytes] = field(default_factory=dict)
    """New contents of files, by their place in the folder."""
    special: dict[str, str] = field(default_factory=dict)
    """Things that are no plain files: fifo, socket, folder, dangling, loop, null, gone."""
    call: Call | None = None
    beside: str = ""
    """What of the folder is read though no argument says so."""

    @property
    def parts(self) -> set[str]:
        """What of the folder of valid things it needs: the names right below it."""
        named = {match for part in self.command for match in re.findall(r"\{\}/([^/:]+)", part)}
        return (named | {name.split("/")[0] for name in (*self.damage, *self.special)} | {self.beside}) - {""}

    def placed(self, folder: Path) -> list[str]:
        """Damage the folder; the command line to run."""
        for name, content in self.damage.items():
            (folder / name).write_bytes(content)
        for name, kind in self.special.items():
            _special(folder / name, kind)
        return [part.replace("{}", str(folder)) for part in self.command]


SPECIAL = ["fifo", "socket", "folder", "dangling", "loop", "null", "zero", "gone", "empty", "up"]


def _special(path: Path, kind: str) -> None:
    if path.is_dir() and not path.is_symlink():
        path = path / "inside"
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        # Its name may be no longer than some hundred letters.
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind != "gone":
        targets = {"dangling": "nowhere", "loop": path.name, "null": "/dev/null", "zero": "/dev/zero", "up": ".."}
        path.symlink_to(targets[kind])


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
NARROW = ["inspect", "--dense", "{}/dense", "--pruned", "{}/narrow", *SHORT]
PRUNE = ["prune", "{}/dense", "--method", "magnitude", "--out", "{}/out", *SHORT]
RESTORE = ["restore", "--dense", "{}/dense", "--pruned", "{}/pruned", "--steps", "2", "--out", "{}/out", *SHORT]
SWEEP = ["sweep", "--dense", "{}/dense", "--pruned", "{}/pruned", "--lr", "0.1", "--steps", "2", *SHORT]
COMPARE = ["compare", "--dense", "{}/dense", "--pruned", "{}/pruned", "--methods", "mean-bias", "--elsewhere", "",
           "--text", "{}/text.txt", "--judged", "2", "--windows", "6", *SHORT]  # fmt: skip
ADAPTER = ["evaluate", "{}/pruned", "--adapter", "{}/adapter", *TEXT]


def _evaluate(model: str) -> list[str]:
    return ["evaluate", f"{{}}/{model}", *TEXT]


def configs(folder: Path) -> st.SearchStrategy[Case]:
    """A model's settings."""
    kinds = sorted(path.name for path in folder.glob("family-*"))
    return st.one_of(
        one_of("dense/config.json", folder, EVALUATE, EVALUATE, INSPECT, PRUNE),
        one_of("pruned/config.json", folder, INSPECT, RESTORE),
        one_of("narrow/config.json", folder, NARROW, _evaluate("narrow")),
        one_of("dense/generation_config.json", folder, EVALUATE, PRUNE),
        st.one_of([one_of(f"{kind}/config.json", folder, _evaluate(kind)) for kind in kinds]),
    )


def _header(content: bytes) -> tuple[dict[str, object], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def tensors(path: Path) -> st.SearchStrategy[bytes]:
    """A file of safetensors: its bytes, or its header."""
    content = path.read_bytes()
    header, rest = _header(content)

    def headed(changed: object) -> bytes:
        text = written(changed)
        return len(text).to_bytes(8, "little") + text + rest

    return st.one_of(garbled(content), documents(header).map(headed), documents(header).map(headed))


def weights(folder: Path) -> st.SearchStrategy[Case]:
    """A model's tensors: their file, its header, and the index of a sharded one."""
    damaged = tensors(folder / "dense/model.safetensors")
    commands = st.sampled_from([EVALUATE, INSPECT])
    whole = st.builds(lambda new, command: Case(list(command), {"dense/model.safetensors": new}), damaged, commands)
    shard = sorted((folder / "sharded").glob("*.safetensors"))[0]
    pickled = garbled((folder / "pickled/pytorch_model.bin").read_bytes())
    return st.one_of(
        whole,
        whole,
        pickled.map(lambda new: Case([*_evaluate("pickled"), "--allow-pickle"], {"pickled/pytorch_model.bin": new})),
        one_of("sharded/model.safetensors.index.json", folder, _evaluate("sharded")),
        tensors(shard).map(lambda new: Case(_evaluate("sharded"), {f"sharded/{shard.name}": new})),
    )


def tokenizers(folder: Path) -> st.SearchStrategy[Case]:
    """How text becomes ids."""
    kinds = [path.name for path in folder.glob("tokenizer-*") if (path / "tokenizer.json").is_file()]
    apart = "tokenizer-apart"
    return st.one_of(
        one_of(f"{apart}/vocab.json", folder, _evaluate(apart)),
        one_of(f"{apart}/tokenizer_config.json", folder, _evaluate(apart)),
        garbled((folder / apart / "merges.txt").read_bytes()).map(
            lambda new: Case(_evaluate(apart), {f"{apart}/merges.txt": new})
        ),
        one_of("dense/tokenizer.json", folder, EVALUATE, INSPECT, PRUNE),
        one_of("pruned/tokenizer.json", folder, INSPECT),
        one_of("dense/tokenizer_config.json", folder, EVALUATE, PRUNE),
        st.one_of([one_of(f"{kind}/tokenizer.json", folder, _evaluate(kind)) for kind in kinds]),
        st.one_of([one_of(f"{kind}/tokenizer_config.json", folder, _evaluate(kind)) for kind in kinds]),
    )


def adapters(folder: Path) -> st.SearchStrategy[Case]:
    """What a restoration is kept in."""
    name = "adapter/compensation.safetensors"
    return st.one_of(
        one_of("adapter/restorelcc.json", folder, ADAPTER),
        tensors(folder / name).map(lambda new: Case(list(ADAPTER), {name: new})),
    )


def head_maps(folder: Path) -> st.SearchStrategy[Case]:
    """Which heads a narrower model kept."""
    return one_of("narrow/kept_heads.json", folder, NARROW)


def _row(line: bytes) -> st.SearchStrategy[bytes]:
    return documents(json.loads(line)).map(written)


def texts(folder: Path) -> st.SearchStrategy[Case]:
    """What is read: plain, rows of every kind, packed, and questions."""

    def read(name: str, content: bytes, field: str = "") -> Case:
        return Case(["evaluate", "{}/dense", "--text", f"{{}}/{name}{field}", *TEXT[2:]], {name: content})

    plain = garbled((folder / "text.txt").read_bytes())
    rows = (folder / "rows.jsonl").read_bytes()
    lines = rows.splitlines()
    damaged = st.one_of(garbled(rows), _row(lines[0]).map(lambda line: b"\n".join([line, *lines[1:]])))
    responses = [*RESTORE[:-1], "--loss", "response", "--json"]
    responses[responses.index("{}/text.txt")] = "{}/rows.jsonl"
    probing = [*INSPECT, "--scores", "probing", "--contrast", "{}/questions.jsonl"]
    asked = (folder / "questions.jsonl").read_bytes().splitlines()
    fields = st.sampled_from(["", "", ":prompt", ":response", ":nothing", ":a.b", ":", "::"])
    others = st.sampled_from(["rows.json", "rows.csv", "rows.tsv", "rows.parquet"]).flatmap(
        lambda name: st.builds(read, st.just(name), garbled((folder / name).read_bytes()), fields)
    )
    packed = st.sampled_from(sorted(PACKERS)).flatmap(
        lambda suffix: garbled(PACKERS[suffix](rows)).map(lambda new: read(f"packed.jsonl{suffix}", new))
    )
    return st.one_of(
        plain.map(lambda new: Case(list(EVALUATE), {"text.txt": new})),
        plain.map(lambda new: read("rows.json", new)),
        st.builds(lambda new, field: read("rows.jsonl", new, field), damaged, fields),
        damaged.map(lambda new: Case(list(responses), {"rows.jsonl": new})),
        _row(asked[0]).map(lambda new: Case(list(probing), {"questions.jsonl": b"\n".join([new, *asked[1:]])})),
        others,
        packed,
    )


OPTIONS = {
    "evaluate": (EVALUATE, "stride windows length text device dtype adapter"),
    "inspect": (INSPECT, "top windows length seed scores positions contrast csv device"),
    "prune": (PRUNE, "sparsity pattern ratio allocation method windows seed length dtype calibration"),
    "restore": (
        RESTORE,
        "heads score components loss lr unit steps epochs batch start patience windows length seed format name share "
        "picks budget clip warm-up cool-down precision keep positions log-with contrast push",
    ),
    "sweep": (SWEEP, "heads components lr loss text steps score seed windows csv log-with"),
    "compare": (COMPARE, "methods steps seeds batch judged log-with"),
    "runs": (["runs"], "json"),
}
ITSELF = ("text", "csv", "adapter", "device", "contrast", "calibration", "picks")
"""Never a path of this machine, nor anything that loads for long."""
SLOW = ("steps", "epochs")
"""Large numbers are allowed here, and take as long as they say."""


def options(folder: Path) -> st.SearchStrategy[Case]:
    """Values of options."""

    @st.composite
    def drawn(draw: st.DrawFn) -> Case:
        command, names = OPTIONS[draw(st.sampled_from(sorted(OPTIONS)))]
        name, value = draw(st.sampled_from(names.split())), draw(st.one_of(numbers(), arguments().filter(passable)))
        if name in SLOW and value.strip("+").replace(".", "").isdigit() and float(value) > 50:
            value = "3"
        if name in ITSELF and ("/" in value or value in ("", " ", ".", "..")):
            value = "nothing"
        value = f"{{}}/{value}" if name == "csv" and command[0] != "sweep" else value
        if name == "csv" and command[0] == "sweep":
            value = "{}/table/none.csv"
        return Case([*command, f"--{name}={value}"])

    return drawn()


def names(folder: Path) -> st.SearchStrategy[Case]:
    """What models, texts, adapters and outputs are called."""
    odd = [*NASTY_TEXTS, ".", "..", "~", "~nobody", "a/b", "a/b/c", "a//b", "a@b", "@", "hf:", "hf:a:b:c", "dense@x",
           "self", "demo@main", "a" * 300 + "/b"]  # fmt: skip
    called = st.one_of(st.sampled_from(odd), st.text(max_size=12)).filter(
        lambda name: passable(name) and not name.startswith(("-", "/dev", "/proc"))
    )
    return st.one_of(
        called.map(lambda name: Case(["evaluate", name, *TEXT])),
        called.map(lambda name: Case(["evaluate", f"{{}}/{name}", *TEXT])),
        called.map(lambda name: Case(["evaluate", "{}/dense", "--text", name, "--length", "16", "--json"])),
        called.map(lambda name: Case(["inspect", "--dense", "{}/dense", "--pruned", name, *SHORT])),
        called.map(lambda name: Case(["evaluate", "{}/pruned", "--adapter", f"{{}}/{name}", *TEXT])),
        called.filter(lambda name: ".." not in name and not name.startswith(("/", "~"))).map(
            lambda name: Case([part.replace("{}/out", f"{{}}/new/{name}") for part in PRUNE[:-1]])
        ),
    )


def runs(folder: Path) -> st.SearchStrategy[Case]:
    """Restorations that are kept: every file of one."""
    run = next((folder / "data/restorelcc/runs").glob("2*")).relative_to(folder)
    commands = st.sampled_from([["runs", "--json"], ["runs"]])
    binary = [f"{run}/training.safetensors", f"{run}/adapter/compensation.safetensors"]
    steps = (folder / run / "metrics.jsonl").read_bytes()
    lines = steps.splitlines()
    step = _row(lines[-1]).map(lambda line: b"\n".join([*lines[:-1], line]))
    contents = st.one_of(
        files((folder / run / "config.json").read_bytes()).map(lambda new: {f"{run}/config.json": new}),
        files((folder / run / "config.json").read_bytes()).map(lambda new: {f"{run}/config.json": new}),
        st.one_of(step, garbled(steps)).map(lambda new: {f"{run}/metrics.jsonl": new}),
        files((folder / run / "adapter/restorelcc.json").read_bytes()).map(
            lambda new: {f"{run}/adapter/restorelcc.json": new}
        ),
        st.one_of([tensors(folder / name).map(lambda new, name=name: {name: new}) for name in binary]),
    )
    special = st.builds(
        lambda name, kind: {f"{run}/{name}": kind},
        st.sampled_from(["config.json", "metrics.jsonl", "training.safetensors", "adapter/restorelcc.json"]),
        st.sampled_from(SPECIAL),
    )
    return st.one_of(
        st.builds(lambda command, new: Case(list(command), new, beside="data"), commands, contents),
        st.builds(lambda command, new: Case(list(command), special=new, beside="data"), commands, special),
    )


def interrupted(folder: Path) -> st.SearchStrategy[Case]:
    """Trainings that were left, every file of one: listed, and gone on with."""
    place = next((folder / "data/restorelcc/runs/.unfinished").glob("2*")).relative_to(folder)
    going_on = ["restore", "--continue", place.name, "--out", "{}/out", "--json"]
    commands = st.sampled_from([going_on, going_on, ["runs"], ["runs", "--json"]])
    facts = files((folder / place / "training.json").read_bytes()).map(lambda new: {f"{place}/training.json": new})
    states = [f"{place}/given.safetensors", f"{place}/state.safetensors"]
    contents = st.one_of(
        facts,
        facts,
        st.one_of([tensors(folder / name).map(lambda new, name=name: {name: new}) for name in states]),
    )
    special = st.builds(
        lambda name, kind: {f"{place}/{name}": kind},
        st.sampled_from(["training.json", "given.safetensors", "state.safetensors", "lock"]),
        st.sampled_from(SPECIAL),
    )
    return st.one_of(
        st.builds(lambda command, new: Case(list(command), new, beside="data"), commands, contents),
        st.builds(lambda command, new: Case(list(command), special=new, beside="data"), commands, special),
    )


def special_files(folder: Path) -> st.SearchStrategy[Case]:
    """Pipes, sockets, devices, folders, dead links and nothing at all where a file or a folder is wanted."""
    kinds = st.sampled_from(SPECIAL)
    read = {"text.txt": EVALUATE, "dense/config.json": EVALUATE, "dense/model.safetensors": EVALUATE,
            "dense/tokenizer.json": EVALUATE, "dense/tokenizer_config.json": INSPECT,
            "adapter/restorelcc.json": ADAPTER, "adapter/compensation.safetensors": ADAPTER,
            "narrow/kept_heads.json": NARROW, "dense/generation_config.json": PRUNE,
            "dense/chat_template.jinja": PRUNE, "dense/special_tokens_map.json": EVALUATE,
            "sharded/model.safetensors.index.json": _evaluate("sharded")}  # fmt: skip
    wanted = {"out": PRUNE, "table.csv": [*INSPECT, "--csv", "{}/table.csv"], "new": [*RESTORE, "--name", "x"]}
    return st.one_of(
        st.builds(
            lambda name, kind: Case(list(read[name]), special={name: kind}), st.sampled_from(sorted(read)), kinds
        ),
        st.builds(
            lambda name, kind: Case(
                [part.replace("{}/out", "{}/" + name) for part in wanted[name]], special={name: kind}
            ),
            st.sampled_from(sorted(wanted)),
            kinds,
        ),
    )
