"""The original in PyTorch, run in a process of its own (benchmarks/reference.py): this end of it."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import jax
import numpy as np

from benchmarks.peer import Peer
from benchmarks.turns import forget_peak, growth, resident
from trm_jax.config import Experiment, differences
from trm_jax.errors import ConfigError
from trm_jax.original.original import experiment_of

if TYPE_CHECKING:
    from benchmarks.reference import Order


class Rows(Protocol):
    """A batch: inputs and labels [B, S], puzzle_ids [B]; on a device or on the host."""

    @property
    def inputs(self) -> Any: ...

    @property
    def labels(self) -> Any: ...

    @property
    def puzzle_ids(self) -> Any: ...


class Original:
    """One variant of the original's work."""

    def __init__(self, python: str, checkout: Path, order: "Order", trained: int) -> None:
        """Starts the process and lets it work once, which compiles.

        Args:
          python: that has torch.
          checkout: of the original.
          order: what to run.
          trained: how many parameters it is to have.

        Raises:
          ConfigError: one line that says what the process lacks, or does otherwise.
        """
        self._name = "the original, " + ("compiled" if order["compiled"] else "eager")
        self._steps = order["config"]["arch"]["halt_max_steps"]
        try:
            self._peer = Peer(self._name, [python, "-m", "benchmarks.reference", str(checkout.resolve())])
        except OSError as error:
            raise ConfigError(f"--reference-python {python}: {error.strerror}") from None
        try:
            self._begin(order, trained)
        except BaseException:
            self.close()
            raise

    def run(self) -> float:
        """Lets it work once and tells its seconds."""
        told = self._peer.ask("again")
        check_loss(self._name, told["loss"])
        # Told of evaluation alone: in training, each puzzle halts when it likes.
        if told.get("steps", self._steps) != self._steps:
            raise ConfigError(f"{self._name} made {told['steps']} supervision steps, and was asked for {self._steps}")
        self._bytes = told["bytes"]
        return float(told["seconds"])

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        return {
            "first_seconds": round(self._first_seconds, 1),
            "peak_gb_measured": round(self._bytes / 1e9, 3) if self._bytes else None,
            "peak_gb_resident": growth(self._before, self._peer.pid),
            "torch": self._version,
        }

    def close(self) -> None:
        """Ends the process; may be called again."""
        self._peer.close()

    def _begin(self, order: "Order", trained: int) -> None:
        self._version = self._peer.answer()["torch"]
        self._before = resident(self._peer.pid, "VmRSS")
        self.parameters = int(self._peer.ask(order)["parameters"])
        if self.parameters != trained:
            raise ConfigError(f"{self._name} trains {self.parameters:,} parameters, and ours {trained:,}")
        self._first_seconds = self.run()
        forget_peak(self._peer.pid)


def order_for(
    experiment: Experiment,
    task: Literal["train", "evaluate"],
    batches: Sequence[Rows],
    compiled: bool,
    updates: int = 0,
) -> "Order":
    """The experiment in the original's words.

    Args:
      experiment: with all sizes filled in, the batch among them.
      task: what to do with the batches: a training step of the only one, or an evaluation of all of them.
      batches: of the experiment's size.
      compiled: by torch.compile.
      updates: how many training steps there will be at most.

    Raises:
      ConfigError: the original has no such model.
    """
    m, o, train = experiment.model, experiment.optim, experiment.train
    arch = {
        "halt_exploration_prob": m.exploration,
        "halt_max_steps": m.supervision_steps,
        "H_cycles": m.cycles,
        "L_cycles": m.latent_steps,
        "H_layers": 0,
        "L_layers": m.layers,
        "hidden_size": m.width,
        "num_heads": m.heads,
        "expansion": m.expansion,
        "puzzle_emb_ndim": m.puzzle_dim,
        "puzzle_emb_len": m.puzzle_tokens,
        "pos_encodings": m.positions,
        "rope_theta": m.rope_theta,
        "rms_norm_eps": m.norm_eps,
        "forward_dtype": m.dtype,
        "mlp_t": m.mixer == "mlp",
        "no_ACT_continue": not experiment.loss.continue_head,
    }
    metadata = {"vocab_size": m.vocab_size, "seq_len": m.seq_len, "num_puzzle_identifiers": m.num_puzzles}
    there = experiment_of({"kind": "trm"} | arch | metadata)
    same = replace(experiment, model=there.model, loss=there.loss, optim=replace(o, atan2_form="original"))
    other = differences(same, experiment)
    if other:
        raise ConfigError(f"the original cannot run this experiment, by config.{other[0]}")
    backend = jax.default_backend()
    if backend not in ("cpu", "gpu"):
        raise ConfigError(f"the original runs on CPUs and GPUs, and this is a {backend}")
    config = {
        "arch": arch
        | {
            "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
            "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
        },
        "data_paths": [],
        "global_batch_size": train.batch_size,
        "epochs": max(train.steps, updates),
        "lr": o.learning_rate,
        "lr_min_ratio": o.min_ratio,
        "lr_warmup_steps": o.warmup_steps,
        "weight_decay": o.weight_decay,
        "beta1": o.beta1,
        "beta2": o.beta2,
        "puzzle_emb_lr": o.puzzle_learning_rate,
        "puzzle_emb_weight_decay": o.puzzle_weight_decay,
        "ema": True,
        "ema_rate": o.ema_decay,
    }
    return {
        "task": task,
        "compiled": compiled,
        "device": "cuda" if backend == "gpu" else "cpu",
        "threads": len(os.sched_getaffinity(0)),
        "config": config,
        # An epoch of so many puzzles is one step.
        "metadata": metadata | {"total_groups": train.batch_size, "mean_puzzle_examples": 1},
        "batches": [
            {
                "inputs": np.asarray(batch.inputs).tolist(),
                "labels": np.asarray(batch.labels).tolist(),
                "puzzle_identifiers": np.asarray(batch.puzzle_ids).tolist(),
            }
            for batch in batches
        ],
    }


def check_checkout(checkout: Path) -> None:
    """Raises ConfigError where there is none of the original."""
    if not (checkout / "pretrain.py").is_file():
        raise ConfigError(f"--reference {checkout}: no pretrain.py there, so it is no checkout")


def check_loss(name: str, loss: float) -> None:
    """Raises ConfigError where the loss is no number."""
    if not math.isfinite(loss):
        raise ConfigError(f"{name}: the loss is {loss}, so its time means nothing")
