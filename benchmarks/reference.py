"""The original's training step, made when asked: the other end of `python -m benchmarks.step_time --reference PATH`.

    PYTHON -m benchmarks.reference PATH

PATH is a checkout of github.com/SamsungSAILMontreal/TinyRecursiveModels; nothing in it is changed, and its own
`pretrain.train_batch` makes the steps. PYTHON needs what that takes: torch, numpy, einops and pydantic, but not JAX.

Requests come in by lines of JSON and are answered by lines of JSON: first PATH's import (unasked, {"torch": version}),
then an `Order` ({"parameters": count}), then any number of "step" ({"seconds": ..., "loss": ..., "bytes": ...}).
Between requests the process sleeps. The first thing to go wrong is told as {"error": line}, and the process ends.
"""

import importlib
import json
import os
import sys
import time
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

    compiled: by torch.compile, as pretrain.py does unless told otherwise.
    device: "cpu" or "cuda".
    threads: on a CPU.
    config: of pretrain.PretrainConfig.
    metadata: of the dataset: vocab_size, seq_len, num_puzzle_identifiers, total_groups, mean_puzzle_examples.
    batch: inputs, labels [B, S] and puzzle_identifiers [B].
    """

    compiled: bool
    device: str
    threads: int
    config: dict[str, Any]
    metadata: dict[str, Any]
    batch: dict[str, Any]


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


class Training:
    """The original's model and optimisers, and its training step on one batch."""

    def __init__(self, pretrain: Any, order: Order) -> None:
        self._pretrain, self._cuda = pretrain, order["device"] == "cuda"
        torch.manual_seed(0)
        torch.set_num_threads(order["threads"])
        if not self._cuda:
            # pretrain.py knows no device but "cuda"; here that means the CPU.
            on_cpu = SimpleNamespace(**vars(torch) | {"device": lambda _: torch.device("cpu")})
            patch.object(pretrain, "torch", on_cpu).start()
            patch.object(torch.Tensor, "cuda", lambda tensor: tensor).start()
        if not order["compiled"]:
            os.environ["DISABLE_COMPILE"] = "1"
        self._config = pretrain.PretrainConfig(**order["config"])
        self._state = pretrain.init_train_state(self._config, SimpleNamespace(**order["metadata"]), 0, 1)
        self._state.model.train()
        self._average = pretrain.EMAHelper(mu=self._config.ema_rate)
        self._average.register(self._state.model)
        self._batch = {name: torch.tensor(rows, dtype=torch.int32) for name, rows in order["batch"].items()}

    @property
    def parameters(self) -> int:
        """How many numbers AdamATan2 trains."""
        return sum(p.numel() for p in self._state.model.parameters())

    def step(self) -> dict[str, float]:
        """One training step and its average: seconds, mean token loss, and the most bytes of a GPU so far."""
        self._wait()
        start = time.perf_counter()
        metrics = self._pretrain.train_batch(
            self._config, self._state, self._batch, self._config.global_batch_size, rank=0, world_size=1
        )
        self._average.update(self._state.model)
        self._wait()
        seconds = time.perf_counter() - start
        allocated = torch.cuda.max_memory_allocated() if self._cuda else 0
        return {"seconds": seconds, "loss": float(metrics["train/lm_loss"]), "bytes": allocated}

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


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
        training = Training(pretrain, json.loads(requests.readline()))
        answer({"parameters": training.parameters})
        for _ in requests:
            answer(training.step())
    except Exception as error:  # whatever it is, the benchmark can only tell it
        answer({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})


if __name__ == "__main__":
    # Models print themselves, and compilers talk: what is not an answer goes to where errors go.
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Path(sys.argv[1]), sys.stdin, private)
