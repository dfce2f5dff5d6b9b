"""The original's training step or evaluation, made when asked: the other end of benchmarks/original.py.

    PYTHON -m benchmarks.reference PATH

PATH is a checkout of github.com/SamsungSAILMontreal/TinyRecursiveModels; nothing in it is changed, and its own
`pretrain.train_batch` and `pretrain.evaluate` do the work. PYTHON needs what these take: torch, numpy, einops and
pydantic, but not JAX. Weights are random.

Requests come in by lines and are answered by lines of JSON: first PATH's import (unasked, {"torch": version}), then an
`Order` in JSON ({"parameters": count}), then any number of "again", each for one training step or for one evaluation of
all batches: {"seconds": ..., "loss": ..., "bytes": ...}, and of evaluation "steps", the mean number of supervision
steps. Between requests the process sleeps. The first thing to go wrong is told as {"error": line}, and it ends.
"""

import importlib
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TextIO, TypedDict
from unittest.mock import MagicMock, patch

import torch

# What pretrain.py imports for the command line, the data files and the log, none of which is run here.
UNUSED = ("argdantic", "coolname", "hydra", "omegaconf", "tqdm", "wandb", "yaml")


class Order(TypedDict):
    """What to run: keys as in the original's YAML files.

    task: "train" or "evaluate".
    compiled: by torch.compile, as pretrain.py does unless told otherwise.
    device: "cpu" or "cuda".
    threads: on a CPU.
    config: of pretrain.PretrainConfig.
    metadata: of the dataset: vocab_size, seq_len, num_puzzle_identifiers, total_groups, mean_puzzle_examples.
    batches: of each inputs, labels [B, S] and puzzle_identifiers [B]; to train on, one.
    """

    task: str
    compiled: bool
    device: str
    threads: int
    config: dict[str, Any]
    metadata: dict[str, Any]
    batches: list[dict[str, Any]]


class AdamATan2(torch.optim.Optimizer):
    """The update of the package adam_atan2, which needs CUDA to build, in plain PyTorch.

    Weights decay first; then w -= lr / (1 - beta1^t) * atan2(m, sqrt(v) / sqrt(1 - beta2^t)).
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float, weight_decay: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})
        self._steps = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        self._steps += 1
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            for p in params:
                if p not in self.state:
                    self.state[p] = {"mu": torch.zeros_like(p), "nu": torch.zeros_like(p)}
            mu, nu = ([self.state[p][name] for p in params] for name in ("mu", "nu"))
            beta1, beta2 = group["betas"]
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_lerp_(mu, grads, 1 - beta1)
            torch._foreach_mul_(nu, beta2)
            torch._foreach_addcmul_(nu, grads, grads, 1 - beta2)
            roots = torch._foreach_sqrt(nu)
            torch._foreach_div_(roots, (1 - beta2**self._steps) ** 0.5)
            directions = [torch.atan2(m, root) for m, root in zip(mu, roots, strict=True)]
            torch._foreach_add_(params, directions, alpha=-group["lr"] / (1 - beta1**self._steps))


class Work(ABC):
    """The original's model and optimisers, and batches for them."""

    def __init__(self, pretrain: Any, order: Order) -> None:
        self._pretrain, self._cuda = pretrain, order["device"] == "cuda"
        torch.manual_seed(0)
        torch.set_num_threads(order["threads"])
        if not self._cuda:
            # pretrain.py knows no device but "cuda"; here that means the CPU.
            on_cpu = {"device": lambda _: torch.device("cpu"), "zeros": _zeros_on_cpu}
            patch.object(pretrain, "torch", SimpleNamespace(**vars(torch) | on_cpu)).start()
            patch.object(torch.Tensor, "cuda", lambda tensor: tensor).start()
        if not order["compiled"]:
            os.environ["DISABLE_COMPILE"] = "1"
        self._config = pretrain.PretrainConfig(**order["config"])
        self._state = pretrain.init_train_state(self._config, SimpleNamespace(**order["metadata"]), 0, 1)
        self._batches = [
            {name: torch.tensor(rows, dtype=torch.int32) for name, rows in batch.items()} for batch in order["batches"]
        ]

    @property
    def parameters(self) -> int:
        """How many numbers AdamATan2 trains."""
        return sum(p.numel() for p in self._state.model.parameters())

    def run(self) -> dict[str, float]:
        """The work once: its seconds, what `_do` tells of it, and the most bytes of a GPU so far."""
        self._wait()
        start = time.perf_counter()
        told = self._do()
        self._wait()
        seconds = time.perf_counter() - start
        allocated = torch.cuda.max_memory_allocated() if self._cuda else 0
        return {"seconds": seconds, "bytes": allocated} | {name: float(value) for name, value in told.items()}

    @abstractmethod
    def _do(self) -> dict[str, Any]:
        """The work, and what is to be told of it."""

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


class Training(Work):
    """One training step on the only batch, and its average."""

    def __init__(self, pretrain: Any, order: Order) -> None:
        super().__init__(pretrain, order)
        (self._batch,) = self._batches
        self._state.model.train()
        self._average = pretrain.EMAHelper(mu=self._config.ema_rate)
        self._average.register(self._state.model)

    def _do(self) -> dict[str, Any]:
        """Tells the mean token loss."""
        metrics = self._pretrain.train_batch(
            self._config, self._state, self._batch, self._config.global_batch_size, rank=0, world_size=1
        )
        self._average.update(self._state.model)
        return {"loss": metrics["train/lm_loss"]}


class Evaluation(Work):
    """All batches, with all supervision steps; answers and q_halt come to the host, as for the original's ARC scores.

    The weights are those of the start and not an average, which costs the same; nothing is kept for training.
    """

    def __init__(self, pretrain: Any, order: Order) -> None:
        super().__init__(pretrain, order)
        self._state.model.eval()
        self._sets = SimpleNamespace(sets=["all"])
        self._loader = [("all", batch, len(batch["inputs"])) for batch in self._batches]

    def _do(self) -> dict[str, Any]:
        """Tells the mean token loss and the mean number of supervision steps."""
        metrics = self._pretrain.evaluate(
            self._config, self._state, self._loader, self._sets, [_Answers()], rank=0, world_size=1, cpu_group=None
        )
        return {"loss": metrics["all"]["lm_loss"], "steps": metrics["all"]["steps"]}


class _Answers:
    """An evaluator, as pretrain.evaluate calls them, that only keeps what a score would need."""

    required_outputs = ("preds", "q_halt_logits")

    def begin_eval(self) -> None:
        self._kept: list[dict[str, torch.Tensor]] = []

    def update_batch(self, batch: dict[str, torch.Tensor], preds: dict[str, torch.Tensor]) -> None:
        self._kept.append({name: preds[name].cpu() for name in self.required_outputs})

    def result(self, save_path: str | None, rank: int, world_size: int, group: Any) -> None:
        """There is no score."""


TASKS = {"train": Training, "evaluate": Evaluation}


def _zeros_on_cpu(*size: Any, device: str, **options: Any) -> torch.Tensor:
    return torch.zeros(*size, **options)


def load(checkout: Path) -> Any:
    """The checkout's pretrain.py as a module.

    Raises:
      FileNotFoundError: there is none.
      ImportError: of something that it needs.
    """
    if not (checkout / "pretrain.py").is_file():
        raise FileNotFoundError(f"{checkout}/pretrain.py does not exist: give a checkout of TinyRecursiveModels")
    stubs: dict[str, Any] = {name: MagicMock() for name in UNUSED}
    stubs["adam_atan2"] = ModuleType("adam_atan2")
    stubs["adam_atan2"].AdamATan2 = AdamATan2
    found = {name: sys.modules.get(name) for name in stubs}
    sys.modules.update(stubs)
    sys.path.insert(0, str(checkout))
    try:
        return importlib.import_module("pretrain")
    finally:
        # torch.compile looks for some of these, and is to find them as they are.
        for name, module in found.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def serve(checkout: Path, requests: TextIO, answers: TextIO) -> None:
    """Answers requests until there are no more."""

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        pretrain = load(checkout)
        answer({"torch": torch.__version__})
        order = json.loads(requests.readline())
        work = TASKS[order["task"]](pretrain, order)
        answer({"parameters": work.parameters})
        for _ in requests:
            answer(work.run())
    except Exception as error:  # whatever it is, the benchmark can only tell it
        answer({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})


if __name__ == "__main__":
    # Models print themselves, and compilers talk: what is not an answer goes to where errors go.
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Path(sys.argv[1]), sys.stdin, private)
