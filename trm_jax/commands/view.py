"""`trm view`: the page that solves puzzles, with models of one's own, for browsers on this machine; or as files."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from trm_jax.console import say
from trm_jax.errors import ConfigError
from trm_jax.exporting import export
from trm_jax.library.solver import Solver
from trm_jax.runs.signals import heard_by
from trm_jax.sizes import format_bytes
from trm_jax.viewing import page
from trm_jax.viewing.server import Server


def run(
    sources: Sequence[Path], load: Callable[[Path], Solver], port: int, runtime: Path | None, folder: Path | None
) -> None:
    """Serves the page until a signal asks for the end; or writes it, where a folder is given.

    Args:
      sources: the models, as they were asked for; the page calls each by the last part of its path.
      load: reads one.
      port: 0 for any that is free.
      runtime: folder of the runtime's files; None: where npm puts them.
      folder: a new one for the files.

    Raises:
      ConfigError: the page cannot show a model's puzzles, two models have one name, the runtime is not there, or the
        port cannot be had.
      StorageError: the files cannot be written.
    """
    names = [source.resolve().name for source in sources]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two models are called {twice}: give each once, or rename a folder")
    solvers = [load(source) for source in sources]
    for source, solver in zip(sources, solvers, strict=True):
        page.check(solver.kind.to_dict(), str(source))
    found = page.runtime(runtime)
    models = [page.Model(name, *_exported(solver)) for name, solver in zip(names, solvers, strict=True)]
    files = page.files(models, found, offline=folder is not None)
    if folder is not None:
        page.save(files, folder)
        print(f"{folder}: wrote the page, {format_bytes(sum(len(file.data) for file in files.values()))}")
        return
    with Server(files, port) as server:

        def end(number: int, frame: object) -> None:
            # `shutdown` waits for the loop, which this thread is in.
            threading.Thread(target=server.shutdown).start()

        with heard_by(end):
            print(server.url, flush=True)
            say("open it in a browser on this machine; Ctrl-C ends it")
            server.serve_forever(poll_interval=0.1)


def _exported(solver: Solver) -> tuple[dict[str, object], bytes]:
    """The metadata and the bytes of the model's step as ONNX."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        about = export.export(path, solver.experiment, solver.weights, solver.kind, "step")
        return about, path.read_bytes()
