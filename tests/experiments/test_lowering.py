"""Every experiment's training step, at full size, is a program for a GPU and for a TPU, although neither is here."""

import re
from dataclasses import replace

import jax._src.cudnn.fused_attention_stablehlo as cudnn
import pytest

from benchmarks.compiles import full_size
from trm_jax.config import Experiment
from trm_jax.config.files import names
from trm_jax.config.mixers import mixer
from trm_jax.training.memory import trace_step

QUICK = ("sudoku_mlp",)


def has_a_fused_kernel(experiment: Experiment) -> bool:
    """Whether attention is fused on a GPU, as `settled` would choose there."""
    model = experiment.model
    return mixer(model.mixer).attends and model.positions != "relations" and model.dtype == "bfloat16"


def fused(experiment: Experiment) -> Experiment:
    return replace(experiment, devices=replace(experiment.devices, attention="cudnn"))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names()]
)
def test_a_step_at_full_size_is_lowered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91_000)  # as if it were here
    experiment = full_size(name)
    step = trace_step(experiment)
    programs = {platform: step.lower(lowering_platforms=(platform,)).as_text() for platform in ("cuda", "tpu")}
    if has_a_fused_kernel(experiment):
        programs["cuda"] = trace_step(fused(experiment)).lower(lowering_platforms=("cuda",)).as_text()
        assert "__cudnn$fmhaSoftmaxBackward" in programs["cuda"]
    dtype = {"bfloat16": "bf16", "float32": "f32"}[experiment.model.dtype]
    for platform, text in programs.items():
        products = re.findall(r"dot_general.*-> tensor<[\dx]*x(\w+)>", text)
        assert products.count(dtype) > len(products) / 2, f"{platform}: products in {set(products)}"
        assert not re.search(r"custom_call @\w*callback", text), f"{platform}: something is left to the host"
