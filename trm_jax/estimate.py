"""What an experiment costs before it is run: weights by part, and operations of a training step."""

from dataclasses import asdict, dataclass
from typing import Any

import jax

from trm_jax.config import Experiment, MemoryConfig, ModelConfig
from trm_jax.layers import swiglu_width
from trm_jax.model import Model, count_weights
from trm_jax.policies import Policy, again
from trm_jax.sizes import si


@dataclass(frozen=True)
class Estimate:
    """weights: numbers by part. flops: floating-point operations, a multiplication and an addition counting two."""

    weights: dict[str, int]
    from_data: list[str]
    trained: int
    applications_per_step: int
    flops_per_application: int
    flops_per_puzzle_step: int
    flops_per_step: int
    flops_total: int

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
        return "\n".join(lines)


def estimate(experiment: Experiment) -> Estimate:
    """Counts weights without allocating any, and matrix products by arithmetic (elementwise work is left out).

    Sizes that the experiment leaves to the data (0) count as one.
    """
    known = {name: max(1, getattr(experiment.model, name)) for name in ("vocab_size", "seq_len", "num_puzzles")}
    model = ModelConfig(**(asdict(experiment.model) | known))
    weights = count_weights(jax.eval_shape(Model(model).init, jax.random.key(0)))
    latent, answer = applications(model, experiment.memory)
    if experiment.loss.continue_head:  # one more supervision step, forward only, for each
        further = model.backprop_steps * model.cycles
        latent, answer = latent + further * _latent_steps(model), answer + further
    two = model.separate_networks or model.states == "y"
    answer_layers = (model.answer_layers or model.layers) if two else model.layers
    per_puzzle = latent * forward_flops(model, model.layers) + answer * forward_flops(model, answer_layers)
    per_step = per_puzzle * experiment.train.batch_size
    return Estimate(
        weights=weights,
        from_data=[f"config.model.{name}" for name in known if not getattr(experiment.model, name)],
        trained=sum(weights[name] for name in ("network", "heads", "embeddings")),
        applications_per_step=latent + answer,
        flops_per_application=forward_flops(model, model.layers),
        flops_per_puzzle_step=per_puzzle,
        flops_per_step=per_step,
        flops_total=per_step * experiment.train.steps,
    )


def applications(model: ModelConfig, memory: MemoryConfig | None = None) -> tuple[int, int]:
    """Forward passes' worth of (latent, answer) network applications in one training step.

    An application with gradients costs three times one without, and its forward pass once more for each time that the
    policy repeats it; the original's T cycles with gradients through the last come to (T + 2)(n + 1). The implicit
    gradient is counted as if its solver took all its steps.
    """
    m = memory or MemoryConfig()
    policy, outer_policy = (
        Policy(m.policy, m.levels, m.repetitions, m.states),
        Policy(m.outer_policy, m.levels, m.repetitions, m.states),
    )
    n, exact = _latent_steps(model), model.gradient == "cycles"
    graded = {"cycles": n, "one_step": min(n, 1), "last_k": min(n, model.gradient_steps), "implicit": 0}[model.gradient]

    def repeated(length: int) -> int:
        return length and (length if m.slices > 1 and policy.name == "none" else again(policy, length))

    grad_cycles = model.grad_cycles if exact else 1
    free_cycles = model.cycles - grad_cycles
    latent = free_cycles * n + grad_cycles * (n + 2 * graded + repeated(graded))
    answer = free_cycles + grad_cycles * (3 + repeated(1))
    if model.gradient == "implicit" and n:
        latent += 1 + 2 * (model.solver_steps + 1)
    if grad_cycles > 1:
        cycles_again = again(outer_policy, grad_cycles)
        latent, answer = latent + cycles_again * n, answer + cycles_again
    steps = model.backprop_steps
    steps_again = again(outer_policy, steps) if steps > 1 else 0
    return steps * latent + steps_again * model.cycles * n, steps * answer + steps_again * model.cycles


def forward_flops(model: ModelConfig, layers: int) -> int:
    """Operations of one network application on one puzzle: two for each weight and position, plus attention's own."""
    L, D = model.positions_total, model.width
    feed_forward = 3 * D * swiglu_width(D, model.expansion) * L
    token_mixer, attention = 3 * L * swiglu_width(L, model.expansion) * D, 4 * D * D * L + 2 * L * L * D
    mixer = token_mixer if model.mixer == "mlp" else attention
    return 2 * layers * (feed_forward + mixer)


def supervision_flops(model: ModelConfig) -> int:
    """Operations of one supervision step on one puzzle at inference: T cycles of n latent steps and an answer step."""
    two = model.separate_networks or model.states == "y"
    answer_layers = (model.answer_layers or model.layers) if two else model.layers
    latent, answer = forward_flops(model, model.layers), forward_flops(model, answer_layers)
    return model.cycles * (_latent_steps(model) * latent + answer)


def _latent_steps(model: ModelConfig) -> int:
    return 0 if model.states == "y" else model.latent_steps
