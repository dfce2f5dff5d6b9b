"""A curriculum of depth: what its text means, and what is none."""

from dataclasses import replace
from fractions import Fraction

import pytest
from small_run import experiment

from trm_jax.config import Experiment, meanings, to_dict
from trm_jax.config.curriculum import deepest, stages
from trm_jax.errors import ConfigError

DEEP = {"model__latent_steps": 6, "model__cycles": 3, "model__grad_cycles": 2}


def growing(curriculum: str, **changes: object) -> Experiment:
    return experiment(**DEEP | {"train__steps": 10, "train__curriculum": curriculum} | changes)


def depths(made: Experiment) -> list[tuple[int, int, int, int, int]]:
    """The last step of each stage, n, T, cycles with gradients, and N_sup."""
    models = [(stage.end, stage.experiment.model) for stage in stages(made)]
    return [(end, m.latent_steps, m.cycles, m.grad_cycles, m.supervision_steps) for end, m in models]


def test_a_stage_has_its_values_until_its_share_of_the_steps_has_passed() -> None:
    made = growing("latent_steps=1+grad_cycles=1@0.3,supervision_steps=2@.7")
    assert depths(made) == [(3, 1, 3, 1, 3), (7, 6, 3, 2, 2), (10, 6, 3, 2, 3)]
    found = stages(made)
    assert [stage.name for stage in found] == ["latent_steps=1+grad_cycles=1", "supervision_steps=2", ""]
    assert [(stage.since, stage.until) for stage in found] == [
        (0, Fraction(3, 10)), (Fraction(3, 10), Fraction(7, 10)), (Fraction(7, 10), 1),
    ]  # fmt: skip


def test_stages_differ_in_depth_alone_and_the_last_is_the_experiment_without_a_curriculum() -> None:
    plain = growing("")
    first, last = stages(growing("cycles=2@0.5"))
    assert last.experiment == plain
    assert first.experiment == replace(plain, model=replace(plain.model, cycles=2))
    assert [stage.experiment for stage in stages(plain)] == [plain]


def test_the_deepest_has_the_largest_of_each_value() -> None:
    made = growing("latent_steps=9+cycles=2@0.3,grad_cycles=3@0.6")
    model = deepest(made).model
    assert (model.latent_steps, model.cycles, model.grad_cycles, model.supervision_steps) == (9, 3, 3, 3)
    plain = growing("")
    assert deepest(plain) is not made
    assert deepest(plain) == deepest(growing("latent_steps=1@0.3")) == plain


@pytest.mark.parametrize(
    ("curriculum", "fault"),
    [
        *(
            (text, f" = {text!r}: {part!r} is no stage: give KEY=VALUE@SHARE")
            for text, part in (
                ("latent_steps", "latent_steps"),
                ("latent_steps=1", "latent_steps=1"),
                ("latent_steps=1@0.3,", ""),
                (",", ""),
                ("latent_steps=1@0.3, cycles=1@0.5", " cycles=1@0.5"),
                ("latent_steps=1.5@0.3", "latent_steps=1.5@0.3"),
                ("latent_steps=-1@0.3", "latent_steps=-1@0.3"),
                ("latent_steps=\u0661@0.3", "latent_steps=\u0661@0.3"),
                ("latent_steps=1+@0.3", "latent_steps=1+@0.3"),
                ("latent_steps=1@0.3\n", "latent_steps=1@0.3\n"),
                *((f"latent_steps=1@{share}", f"latent_steps=1@{share}") for share in
                  ("1", "1.0", "1.5", "30%", "nan", "1e-1", "-0.3", "0_3", ".", "")),
            )
        ),
        ("cycles=2@0.0", " = 'cycles=2@0.0': 'cycles=2@0.0' ends no later than it begins: let shares rise, from more"),
        ("latent_steps=1@0.3,cycles=1@0.30", " = 'latent_steps=1@0.3,cycles=1@0.30': 'cycles=1@0.30' ends no later"),
        ("latent_step=1@0.3", " = 'latent_step=1@0.3': 'latent_step' is no depth of config.model: did you mean "
         "'latent_steps'?"),
        ("width=8@0.3", " = 'width=8@0.3': 'width' is no depth of config.model: known: cycles, grad_cycles, "),
        ("cycles=1+cycles=2@0.3", " = 'cycles=1+cycles=2@0.3': 'cycles=1+cycles=2' has cycles twice: leave one out"),
        ("latent_steps=1@0.04", ", stage 'latent_steps=1': none of config.train.steps = 10 is left for it: change its"),
        ("cycles=2@0.5,latent_steps=1@0.54", ", stage 'latent_steps=1': none of config.train.steps = 10 is left for "),
        ("latent_steps=1@0.96", ": none of config.train.steps = 10 is left for the depth after it: change its share"),
        ("latent_steps=0@0.3", ", stage 'latent_steps=0': config.model.latent_steps = 0 is out of range: give"),
        ("cycles=1@0.3", ", stage 'cycles=1': config.model.grad_cycles = 2 is more than config.model.cycles = 1"),
    ],
)  # fmt: skip
def test_what_is_no_curriculum_is_refused_in_one_line(curriculum: str, fault: str) -> None:
    with pytest.raises(ConfigError) as told:
        growing(curriculum)
    assert str(told.value).startswith(f"config.train.curriculum{fault}")
    assert "\n" not in str(told.value)


def test_a_stage_whose_figures_would_be_others_is_refused() -> None:
    """One supervision step has no continue loss."""
    growing("supervision_steps=1@0.5")
    growing("supervision_steps=2@0.5", loss__continue_head=True)
    with pytest.raises(ConfigError, match=r"^config\.train\.curriculum, stage 'supervision_steps=1': config\.model"):
        growing("supervision_steps=1@0.5", loss__continue_head=True)


def test_the_experiment_itself_is_looked_at_before_its_stages() -> None:
    with pytest.raises(ConfigError, match=r"^config\.model\.cycles = 0 is out of range"):
        growing("latent_steps=0@0.3", model__cycles=0)


def test_its_meaning_is_told() -> None:
    assert "latent_steps=1@0.3,latent_steps=2@0.6" in meanings.meanings()["train.curriculum"]
    assert to_dict(Experiment())["train"]["curriculum"] == ""
