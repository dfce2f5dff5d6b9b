"""What an experiment costs before it is run: weights by part, and operations of a training step."""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import jax

from trm_jax.config import Experiment, MemoryConfig, ModelConfig
from trm_jax.config.curriculum import stages
from trm_jax.config.mixers import mixer
from trm_jax.model.model import Model, count_weights
from trm_jax.model.network import block
from trm_jax.recursion.policies import again
from trm_jax.sizes import si

# Values of config.model that an experiment may leave to the data, as 0.
_SIZES = ("vocab_size", "seq_len", "num_puzzles")


@dataclass(frozen=True)
class Estimate:
    """weights: numbers by part. flops: floating-point operations, a multiplication and an addition counting two.

    stages: of the curriculum; one if there is none. A step is one of the last, the whole run has all of them.
    """

    weights: dict[str, int]
    from_data: list[str]
    trained: int
    applications_per_step: int
    flops_per_application: int
    flops_per_puzzle_step: int
    flops_per_step: int
    flops_total: int
    stages: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def table(self) -> str:
        """Lines for people."""
        lines = [f"{name:28}{count:>16,} weights" for name, count in self.weights.items() if count]
        if self.from_data:
            lines.append(f"(counted as 1, to come from the data: {', '.join(self.from_data)})")
        lines += [
            f"{'trained by AdamATan2':28}{self.trained:>16,} weights",
            f"{'network applications a step':28}{self.applications_per_step:>16,} (a backward pass counts two)",
            f"{'one application':28}{si(self.flops_per_application):>16} a puzzle",
            f"{'one training step':28}{si(self.flops_per_puzzle_step):>16} a puzzle",
            f"{'one training step':28}{si(self.flops_per_step):>16} a batch",
            f"{'the whole run':28}{si(self.flops_total):>16}",
        ]
        if self.stages > 1:
            lines.append(
                f"(of {self.stages} stages of depth, each counted in the whole run; a step is one of the last)"
            )
        return "\n".join(lines)


def estimate(experiment: Experiment) -> Estimate:
    """Counts weights without allocating any, and operations as the mixer tells them (ours: of matrix products alone).

    Sizes that the experiment leaves to the data (0) count as one, and the memory policy "auto" as "none".
    """
    model = _sized(experiment.model)
    weights = count_weights(jax.eval_shape(Model(model).init, jax.random.key(0)))
    latent, answer = _applications_with_continuing(experiment)
    per_puzzle = _flops(model, latent, answer)
    return Estimate(
        weights=weights,
        from_data=[f"config.model.{name}" for name in _SIZES if not getattr(experiment.model, name)],
        trained=sum(weights[name] for name in ("network", "heads", "embeddings")),
        applications_per_step=latent + answer,
        flops_per_application=forward_flops(model, model.layers),
        flops_per_puzzle_step=per_puzzle,
        flops_per_step=per_puzzle * experiment.train.batch_size,
        flops_total=training_flops(experiment, experiment.train.steps),
        stages=len(stages(experiment)),
    )


def training_flops(experiment: Experiment, steps: int) -> int:
    """Operations of the first so many training steps of a run, each stage of its curriculum at its own cost."""
    found = stages(experiment)
    ends = [0, *(min(stage.end, steps) for stage in found[:-1]), steps]
    counts = [end - start for start, end in pairwise(ends)]
    return sum(count * _step_flops(stage.experiment) for count, stage in zip(counts, found, strict=True))


def mean_step_flops(experiment: Experiment) -> int:
    """Operations of a training step, on average over a run of any length."""
    return round(sum((each.until - each.since) * _step_flops(each.experiment) for each in stages(experiment)))


def _step_flops(experiment: Experiment) -> int:
    return _flops(_sized(experiment.model), *_applications_with_continuing(experiment)) * experiment.train.batch_size


def _sized(model: ModelConfig) -> ModelConfig:
    return replace(model, **{name: max(1, getattr(model, name)) for name in _SIZES})


def _applications_with_continuing(experiment: Experiment) -> tuple[int, int]:
    """`applications`, and those of the further supervision step that a continue head takes, forward only, for each."""
    model, memory = experiment.model, experiment.memory
    latent, answer = applications(model, replace(memory, policy="none") if memory.policy == "auto" else memory)
    further = model.backprop_steps * model.cycles if experiment.loss.continue_head else 0
    return latent + further * _latent_steps(model), answer + further


def applications(model: ModelConfig, memory: MemoryConfig | None = None) -> tuple[int, int]:
    """Forward passes' worth of (latent, answer) network applications in one training step.

    An application with gradients costs three times one without, and its forward pass once more for each time that the
    policy repeats it; the original's T cycles with gradients through the last come to (T + 2)(n + 1). The implicit
    gradient is counted as if its solver took all its steps.
    """
    m = memory or MemoryConfig()
    policy, outer_policy = m.step_policy, m.cycle_policy
    n, (graded, grad_cycles) = _latent_steps(model), _graded(model)

    def repeated(length: int) -> int:
        return length and (length if m.slices > 1 and policy.name == "none" else again(policy, length))

    latent = model.cycles * n + 2 * graded + grad_cycles * repeated(graded // grad_cycles)
    answer = model.cycles + 2 * grad_cycles + grad_cycles * repeated(1)
    if model.gradient == "implicit" and n:
        latent += 1 + 2 * (model.solver_steps + 1)
    if grad_cycles > 1:
        cycles_again = again(outer_policy, grad_cycles)
        latent, answer = latent + cycles_again * n, answer + cycles_again
    if model.winner_take_all:  # every latent's step without gradients comes before the winner's with them
        latent, answer = latent + model.latents * model.cycles * n, answer + model.latents * model.cycles
    steps = model.backprop_steps
    cycles_again = model.cycles * (again(outer_policy, steps) if steps > 1 else 0)
    return steps * latent + cycles_again * n, steps * answer + cycles_again


def _graded(model: ModelConfig) -> tuple[int, int]:
    """The (latent, answer) applications of one supervision step through which gradients run, each once."""
    n, k = _latent_steps(model), model.gradient_steps
    if model.gradient == "cycles":
        return model.grad_cycles * n, model.grad_cycles
    return {"one_step": min(n, 1), "last_k": min(n, k), "implicit": 0}[model.gradient], 1


def forward_flops(model: ModelConfig, layers: int) -> int:
    """Operations of one network application on one puzzle, as the mixer tells them, or else as XLA counts its block."""
    told = mixer(model.mixer).part("flops")
    return layers * (_counted(model) if told is None else int(told(model)))


def _counted(model: ModelConfig) -> int:
    made = block(model)
    h_BLD = jax.ShapeDtypeStruct((1, *model.state_shape), model.dtype)
    params = jax.eval_shape(made.init, jax.random.key(0), h_BLD)
    cost: Any = jax.jit(made.apply).lower(params, h_BLD).cost_analysis()
    return round(cost["flops"])


def graded_flops(experiment: Experiment) -> int:
    """Operations of the forward passes through which one training step's gradients run, for a batch, each once."""
    model = experiment.model
    return model.backprop_steps * _flops(model, *_graded(model)) * experiment.train.batch_size


def supervision_flops(model: ModelConfig) -> int:
    """Operations of one supervision step on one puzzle at inference: T cycles of n latent steps and an answer step."""
    return _flops(model, model.cycles * _latent_steps(model), model.cycles)


def _flops(model: ModelConfig, latent: int, answer: int) -> int:
    """Operations of so many forward passes of each network on one puzzle."""
    two = model.separate_networks or model.states in ("y", "candidates")
    answer_layers = (model.answer_layers or model.layers) if two else model.layers
    return latent * forward_flops(model, model.layers) + answer * forward_flops(model, answer_layers)


def _latent_steps(model: ModelConfig) -> int:
    return 0 if model.states in ("y", "candidates") else model.latent_steps
