"""Which heads can tell a right response from a wrong one: contrastive probing (RestoreLCC, Eq. 7).

Per head, a linear + sigmoid probe on [z_c^q ; z_d^{q+r⁺}] → 1 and [z_c^q ; z_d^{q+r⁻}] → 0. z_d^{q+r} is the head's
activation in the dense model at the last token of question and response; z_c^q = z_p + c that in the pruned model at
the last token of the question, with what is put back.

What the mathematics implies, whatever the model:

- c is one vector per head, the same in every row. Features are centred and the bias is not penalised, so the bias takes
  it up exactly: c, and with it the number K of components in it, changes no probe and no accuracy. It is left out here.
- z_c^q is the same in both rows of a pair. It moves the margins of both by the same amount, w_q · z_c^q, and so cannot
  say which of the two is right; it can only shift where between the two the line is drawn for that question.

So a high accuracy says that the dense head's activation after a response tells right from wrong. It says nothing of
what the head lost by pruning, nor of what putting it back would win.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..cores import single_threaded
from ..errors import SettingError, TextError
from ..hf.families import needs_start
from ..hf.layout import Stop, context_length, device_of, geometry, hooked, output_projections, run_until_stop
from ..models.pair import ModelPair
from ..processes import from_all, summed, turns
from ..progress import Progress
from ..text.calibration import check_embedded
from ..text.contrast import ContrastItem, contrast_items
from ..text.tokens import lead, led, read_together
from .probes import fit_probes
from .scores import ScoreInputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRAINING_SHARE = 0.7
"""Of the pairs, as in the paper; accuracy is measured on the others."""
FEWEST_PAIRS = 4
"""Three to train on and one to measure on: enough to compute, not to say anything."""
# Heads fitted in step. On a CPU their features should stay in a core's cache between steps; a GPU wants many.
HEADS_ON_CPU, HEADS_ON_GPU = 2, 128


@dataclass(frozen=True)
class Probing:
    """How well each head's probe tells right from wrong on pairs it was not trained on."""

    accuracy: Tensor
    """[layer, head] float64: share of held-out rows, two a pair, that the probe names rightly; 0.5 is chance."""
    training: int
    """Pairs trained on."""
    held_out: int
    """Pairs the accuracy is measured on."""
    notes: tuple[str, ...] = ()
    """What of the source of the pairs was left out, a sentence each."""

    @property
    def stderr(self) -> Tensor:
        """[layer, head] binomial standard error √(a(1 − a) / held-out pairs).

        Pairs, not rows, are the sample: the two rows of a pair share the question's half. The error of a mean over
        pairs of values between 0 and 1 is at most this. It is that of one head: the best of many heads owes some of
        its accuracy to luck.
        """
        return (self.accuracy * (1 - self.accuracy) / self.held_out).sqrt()


@dataclass(frozen=True)
class Contrast:
    """Activations of every head for every pair, all [layer, head, pair, d_head] in the model's own dtype and device:
    3 × layers × heads × pairs × d_head numbers (1.5 GB for 1 024 heads of 128 and 2 000 pairs in bfloat16)."""

    question: Tensor
    """z_p at the last token of the question."""
    right: Tensor
    """z_d at the last token of question and right response."""
    wrong: Tensor
    """z_d at the last token of question and wrong response."""


def probe(
    pair: ModelPair, items: Sequence[ContrastItem], seed: int = 0, batch: int = 8
) -> Generator[Progress, None, Probing]:
    """Held-out accuracy of every head's probe; yields after every batch of items and every few heads.

    seed: which 70 % of the pairs are trained on; both rows of a pair are always on the same side.
    batch: items a forward pass. Raises SettingError, and TextError for fewer than 4 items.
    """
    if len(items) < FEWEST_PAIRS:
        raise TextError(
            f"Probing has {len(items)} pairs of right and wrong responses to train and be measured on. "
            f"Give at least {FEWEST_PAIRS}; hundreds for an accuracy worth reading."
        )
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed)).tolist()
    contrast = yield from read_contrast_activations(pair, [items[index] for index in order], batch)
    return (yield from fit_all(contrast))


def probed(inputs: ScoreInputs) -> Generator[Progress, None, Probing]:
    """With the items of the source that the inputs name (see `contrast`)."""
    yield Progress("reading contrast items", 0, 1)
    items = contrast_items(inputs.contrast)
    return replace((yield from probe(inputs.pair, items)), notes=items.notes)


def fit_all(contrast: Contrast) -> Generator[Progress, None, Probing]:
    """The probes of `contrast`: trained on its first 70 % of pairs, measured on the rest; features are standardised.

    Yields after every few heads. Where several processes are at it, each takes heads in turns.
    """
    layers, heads, pairs, _ = contrast.question.shape
    training = min(round(pairs * TRAINING_SHARE), pairs - 1)
    on_cpu = contrast.question.device.type == "cpu"
    together = HEADS_ON_CPU if on_cpu else HEADS_ON_GPU
    parts = [part.flatten(0, 1) for part in (contrast.question, contrast.right, contrast.wrong)]

    def measured(start: int) -> Tensor:
        chosen = slice(start, start + together)
        question, right, wrong = (part[chosen].float() for part in parts)
        return _held_out_accuracy(question, right, wrong, training)

    accuracy: list[Tensor] = []
    with single_threaded(torch.get_num_threads() if on_cpu else 1) as workers:
        for part in workers.map(measured, own := turns(range(0, layers * heads, together))):
            yield Progress("training probes", len(accuracy), len(own))
            accuracy.append(part)
    yield Progress("training probes", len(own), len(own))
    return Probing(torch.cat(from_all(accuracy)).view(layers, heads), training, pairs - training)


def _held_out_accuracy(question: Tensor, right: Tensor, wrong: Tensor, training: int) -> Tensor:
    """[head] float64."""
    probes = fit_probes(question[:, :training], right[:, :training], wrong[:, :training])
    held = question[:, training:]
    hits = (probes.margins(held, right[:, training:]) > 0).double().mean(1)
    passes = (probes.margins(held, wrong[:, training:]) <= 0).double().mean(1)
    return ((hits + passes) / 2).cpu()


# --- activations ------------------------------------------------------------------------------------------------


def read_contrast_activations(
    pair: ModelPair, items: Sequence[ContrastItem], batch: int = 8
) -> Generator[Progress, None, Contrast]:
    """Activations at the last tokens, for every item in order; yields after every `batch` items. Where several
    processes are at it, each reads its turns, and all get the whole.

    What is longer than the context keeps its end. Raises SettingError where activations are not finite, LoadError where
    the tokenizer is not the model's.
    """
    shape, device = pair.geometry, device_of(pair.dense)
    size = (shape.n_layers, shape.n_heads, len(items), shape.d_head)
    stores = [torch.zeros(size, dtype=pair.dense.dtype, device=device) for _ in range(3)]
    for start in turns(range(0, len(items), batch)):
        yield Progress("reading right and wrong responses", start, len(items))
        part = items[start : start + batch]
        questions = [_read(pair, item.prompt) for item in part]
        answers = [
            [_read(pair, item.prompt, item.right) for item in part],
            [_read(pair, item.prompt, item.wrong) for item in part],
        ]
        for store, model, texts in zip(
            stores, (pair.pruned, pair.dense, pair.dense), (questions, *answers), strict=True
        ):
            store[:, :, start : start + batch] = last_token_heads(model, texts).to(store)
    yield Progress("reading right and wrong responses", len(items), len(items))
    stores = [summed(store) for store in stores]  # Each item is of one process, and zero in the others.
    if not all(bool(store.isfinite().all()) for store in stores):
        raise SettingError(
            f"Head activations of this pair are not finite in {pair.dense.dtype}, so no probe can be trained on them. "
            "Load the models in bfloat16 or float32."
        )
    return Contrast(*stores)


def _read(pair: ModelPair, prompt: str, response: str = "") -> list[int]:
    """Token ids of what a model reads: led as a document is, and no longer than the context."""
    start, limit = lead(pair.tokenizer), context_length(pair.dense)
    ids = led(start, read_together(pair.tokenizer, prompt, response)[0])
    check_embedded(torch.tensor(ids), pair.dense, pair.tokenizer)
    return led(start, ids[len(start) - limit :]) if needs_start(pair.dense) and len(ids) > limit else ids[-limit:]


@torch.no_grad()
def last_token_heads(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Tensor:
    """[layer, head, text, d_head] z at the last token of each text, given as token ids, in one padded forward pass
    that ends after the last attention."""
    rows = torch.arange(len(texts), device=device_of(model))
    last = torch.tensor([len(text) - 1 for text in texts], device=device_of(model))
    # Padded on the right, where a causal model cannot see it.
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    projections = output_projections(model)
    z: list[Tensor] = []

    def keep(layer: int, inputs: Tensor, output: Tensor) -> None:
        # Layers of one model may lie on several devices.
        z.append(inputs[rows.to(inputs.device), last.to(inputs.device)].to(device_of(model)))
        if layer == len(projections) - 1:
            raise Stop

    with hooked(projections, keep):
        run_until_stop(model, ids)
    return geometry(model).split(torch.stack(z)).transpose(1, 2)
