"""Where a restoration goes, in every shape of model that can take it, and why the others cannot."""

import threading

import pytest
import torch
from conftest import make_model, make_tokens
from families import make_family
from transformers import LlamaForCausalLM

from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated, folded
from restorelcc.errors import UnsupportedModel
from restorelcc.hf.layout import geometry, output_projections
from restorelcc.hf.twins import copied, takes_value_biases, with_value_biases

WINDOW = {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]}


def constants(model, seed=0):
    shape = geometry(model)
    size = (shape.n_layers, shape.n_heads, shape.d_head)
    return Constants(0.3 * torch.randn(size, generator=torch.Generator().manual_seed(seed)))


def check_equal(model, ids=None):
    c, ids = constants(model), make_tokens(texts=2, length=40).ids if ids is None else ids
    twin = folded(model, c)
    with compensated(model, c):
        expected = model(ids).logits
    torch.testing.assert_close(twin(ids).logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected, model(ids).logits, atol=1e-2)
    return twin


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 64}),  # as long as the context: never felt
        ("mistral", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100.0}}),
        ("mistral", {"tie_word_embeddings": True, "hidden_act": "gelu", "rms_norm_eps": 1e-2}),
        ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
        ("phi3", {}),
        ("phi3", {"num_key_value_heads": 1}),
    ],
)
def test_llama_shaped_models_become_an_equal_llama(model_type, changes):
    model = make_family(model_type, **({"sliding_window": None} | changes))
    model.config.pruning = {"method": "wanda"}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = check_equal(model)
    assert type(twin) is LlamaForCausalLM
    assert twin.config.pruning == {"method": "wanda"}
    assert twin.config.eos_token_id == model.config.eos_token_id
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("model_type", "changes", "reason"),
    [
        ("mistral", {"sliding_window": 8}, "looks back 8 tokens"),
        ("qwen2", WINDOW, "looks back 4 tokens"),
        ("phi3", {"sliding_window": 8}, "looks back 8 tokens"),
        ("phi3", {"partial_rotary_factor": 0.5}, "part of a head"),
        ("mixtral", {}, r"no weights like model\.layers\.0\.mlp"),
        (
            "codegen",
            {"n_ctx": 64, "rotary_dim": 4, "hidden_size": 32, "num_key_value_heads": 4},
            r"no weights like transformer\.",
        ),
    ],
)
def test_what_cannot_be_merged_says_why_and_what_to_do(model_type, changes, reason):
    model = make_family(model_type, **changes)
    with pytest.raises(UnsupportedModel, match=f"({reason}).*Export an adapter instead.*load_restored"):
        folded(model, constants(model))


def test_a_model_that_looks_like_llama_and_is_none_is_found_out():
    """The same names, shapes and settings, and another function: only logits can tell."""
    model = make_family("mistral", sliding_window=None)
    for layer in model.model.layers:
        layer.self_attn.scaling = 0.1
    with pytest.raises(UnsupportedModel, match="computes other logits"):
        folded(model, constants(model))


def test_with_a_head_of_values_each_a_constant_goes_into_the_value_bias():
    model = make_family("qwen2", num_key_value_heads=4, **WINDOW)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = check_equal(model)
    assert type(twin) is type(model)
    changed = {name for name, value in twin.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"model.layers.{layer}.self_attn.v_proj.bias" for layer in range(2)}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_with_sinks_rows_do_not_sum_to_one_so_values_cannot_carry_a_constant():
    model = make_family("gpt_oss", num_key_value_heads=4)
    assert not takes_value_biases(model)
    with pytest.raises(UnsupportedModel, match="other logits"):
        with_value_biases(model, constants(model).vectors.flatten(1))
    check_equal(model)  # its output projection has a bias


@pytest.mark.parametrize(
    ("model_type", "off"),
    [("opt", {"enable_bias": False}), ("gpt_neox", {"attention_bias": False}), ("gpt_oss", {"attention_bias": False})],
)
def test_a_switch_that_is_off_is_switched_on(model_type, off):
    model = make_family(model_type, **off)
    assert all(projection.bias is None for projection in output_projections(model))
    twin = check_equal(model)
    assert type(twin) is type(model)
    assert getattr(twin.config, next(iter(off))) is True
    assert getattr(model.config, next(iter(off))) is False


def test_half_precision_folds_too():
    for model_type in ("mistral", "gemma2"):
        model = make_family(model_type, **({"sliding_window": None} if model_type == "mistral" else {})).bfloat16()
        twin, c, ids = folded(model, constants(model)), constants(model), make_tokens().ids
        assert twin.dtype == torch.bfloat16
        with compensated(model, c):
            expected = model(ids).logits.float()
        assert (twin(ids).logits.float() - expected).norm() / expected.norm() < 0.03


def test_a_copy_is_made_while_others_hook_the_model():
    """Hooks hold what cannot be copied, such as the lock here, and come and go meanwhile: they are not looked at."""
    model, ids = make_model(), make_tokens().ids
    plain = model(ids).logits
    lock = threading.Lock()

    class Hook:
        def __init__(self):
            self.lock = lock

        def __call__(self, module, *inputs_and_output):
            with self.lock:
                return inputs_and_output[-1] + 1

    target = model.model.layers[0].mlp.down_proj
    handles = [
        target.register_forward_hook(Hook(), always_call=True),
        target.register_forward_hook(lambda module, args, kwargs, output: output, with_kwargs=True),
        target.register_forward_pre_hook(lambda module, args: None),
        target.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True),
    ]
    hooked = model(ids).logits
    assert not torch.equal(hooked, plain)
    stop, first = threading.Event(), threading.Event()

    def come_and_go():
        while not stop.is_set():
            for module in model.modules():
                handles.append(module.register_forward_hook(Hook()))
            first.set()
            while len(handles) > 4:
                handles.pop().remove()

    others = threading.Thread(target=come_and_go)
    others.start()
    try:
        assert first.wait(10)
        twins = [copied(model) for _ in range(20)]
    finally:
        stop.set()
        others.join()
    assert all(torch.equal(twin(ids).logits, plain) for twin in twins)
    assert torch.equal(model(ids).logits, hooked)
    twins[0].model.layers[0].mlp.down_proj.weight.zero_()
    assert bool(model.model.layers[0].mlp.down_proj.weight.any())
