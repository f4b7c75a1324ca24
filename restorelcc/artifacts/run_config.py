"""What the config of a run says, field by field: what a disk garbled or others wrote may be anything, and whoever reads
a run's config after this can rely on the types of what is there. What is not there is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from ..restoration.settings import Settings
from ..selection.picks import is_shape

Check = Callable[[object], bool]
LARGEST = 2**53
"""What a double holds exactly, as all that reads JSON should expect."""
LONGEST = 10_000  # characters
YEARS = range(1970, 2200)


def is_text(value: object) -> bool:
    """Text that can be written anywhere: no halves of characters."""
    return isinstance(value, str) and len(value) <= LONGEST and value.encode("utf-8", "ignore").decode() == value


def is_number(value: object) -> bool:
    """NaN and infinities are numbers too."""
    return isinstance(value, float) or is_whole(value)


def is_whole(value: object) -> bool:
    """A whole number of a size that makes sense."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST


def is_count(value: object) -> bool:
    """A whole number from zero."""
    return isinstance(value, int) and is_whole(value) and value >= 0


def is_mapping(value: object) -> bool:
    """An object of JSON."""
    return isinstance(value, Mapping)


def is_flag(value: object) -> bool:
    """Yes or no."""
    return isinstance(value, bool)


def is_time(value: object) -> bool:
    """A time that `time_of` reads."""
    return time_of(value) is not None


def time_of(value: object) -> datetime | None:
    """An ISO time, in UTC, where it says no zone too; None for what is none."""
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else "")
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return time if time.year in YEARS else None


def of(**inner: Check) -> Check:
    """An object with these fields, each as it should be."""
    return lambda value: (
        isinstance(value, Mapping) and all(name in value and inner[name](value[name]) for name in inner)
    )


def _is_selection(value: object) -> bool:
    """Small enough to be read: components of heads by `Selection.from_json`."""
    if not isinstance(value, Mapping) or not isinstance(value.get("picks"), Mapping):
        return False
    return is_shape(value.get("shape"))


def _like(default: object) -> Check:
    """Of the type that a setting's default has."""
    for kind, check in ((bool, is_flag), (int, is_whole), (float, is_number), (str, is_text)):
        if isinstance(default, kind):
            return check
    return is_count


def every(check: Check) -> Check:
    """A list, or an object, of such values."""

    def each(value: object) -> bool:
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
        return inner is not None and all(map(check, inner))

    return each


def _is_answers(value: object) -> bool:
    """Of one model to the questions of a task: accuracies, and whether they are within chance."""
    return isinstance(value, Mapping) and all(
        is_flag(part) if name == "within_chance" else part is None or is_number(part) for name, part in value.items()
    )


PAIRED = of(model=is_text, against=is_text, difference=is_number, gained=is_count, lost=is_count, p=is_number)
TASK = of(
    task=is_text,
    metric=is_text,
    questions=is_count,
    chance=is_number,
    models=every(_is_answers),
    paired=every(PAIRED),
)
"""As `evaluation.tasks.results.TaskResult.figures` has it."""
RATE = of(median=is_number, low=is_number, high=is_number)


def _is_timed(value: object) -> bool:
    """Of one model; how it stands to the pruned one, where it does."""
    timed = of(prefill=RATE, decode=RATE)
    if not isinstance(value, Mapping) or not timed(value) or not is_count(value.get("weights_bytes")):
        return False
    return "against_pruned" not in value or timed(value["against_pruned"])


SPEED = of(prompt=is_count, new=is_count, rounds=is_count, machine=is_text, models=every(_is_timed))
"""As `evaluation.speed.timing.Speeds.figures` has it."""
SIDE = of(perplexity=is_number, stderr=is_number, tokens=is_count)
TEXTS = ("name", "dense", "pruned", "fingerprint", "evaluation", "ended", "sketch")
MAPPINGS = ("recipe", "asked", "names", "calibration", "held_out", "figures", "settings", "versions")
DISTANCE = of(nats=is_number, stderr=is_number)
SHARES = ("recovered_share", "share_stderr", "nearer", "nearer_stderr")
FIELDS: dict[tuple[str, ...], Check] = {
    **{(name,): is_text for name in TEXTS},
    **{(name,): is_mapping for name in MAPPINGS},
    ("created",): is_time,
    ("pruning",): lambda value: is_mapping(value) or is_text(value),
    ("parameters",): is_count,
    ("share",): is_number,
    ("trained_parameters",): is_count,
    ("best_step",): is_count,
    ("steps_done",): is_count,
    ("stopped",): is_flag,
    ("star",): is_flag,
    ("tags",): lambda value: isinstance(value, list) and all(map(is_text, value)),
    ("note",): is_text,
    ("selection",): _is_selection,
    ("tasks",): every(TASK),
    ("speed",): SPEED,
    ("calibration", "source"): is_text,
    ("calibration", "windows"): is_count,
    ("held_out", "dense"): SIDE,
    ("held_out", "pruned"): SIDE,
    ("figures", "dense"): SIDE,
    ("figures", "pruned"): SIDE,
    ("figures", "restored"): SIDE,
    ("figures", "gain"): of(nats=is_number, stderr=is_number),
    ("figures", "recovered_share"): is_number,
    ("figures", "share_stderr"): is_number,
    ("figures", "nearer"): is_number,
    ("figures", "nearer_stderr"): is_number,
    ("figures", "kl"): of(pruned=DISTANCE, restored=DISTANCE),
    ("figures", "elsewhere"): is_mapping,
    ("figures", "elsewhere", "text"): is_text,
    **{("figures", "elsewhere", name): is_number for name in SHARES},
    **{("settings", setting.name): _like(setting.default) for setting in fields(Settings)},
}
"""Outer fields before those in them."""
KNOWN = {path[0] for path in FIELDS} | {"format", "judged_on", "notes", "picks", "owner", "made_for"}
"""All that a run says at the top."""
NEEDED = ("settings", "selection", "trained_parameters", "best_step")
"""What every version has written."""


def sound(config: dict[str, Any]) -> list[str]:
    """Takes out of a config whatever is not as it should be; its faults, in words. Null says that something is not
    known, and stays, but where there would be more fields in it."""
    faults, lacking = [], [f"{name} is missing" for name in NEEDED if name not in config]
    for path, check in FIELDS.items():
        holder: Any = config
        for name in path[:-1]:
            holder = holder.get(name, {})
        if path[-1] not in holder:
            continue
        value = holder[path[-1]]
        if not check(value) and not (value is None and check is not is_mapping):
            del holder[path[-1]]
            faults.append(f"{'.'.join(path)} is not what it should be")
    return faults + lacking
