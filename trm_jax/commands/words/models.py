"""trm parity, convert, export, view, models and estimate: what is done with a model itself."""

from pathlib import Path

from trm_jax.commands import arguments
from trm_jax.commands.arguments import output_file, positive, puzzles
from trm_jax.commands.words.shared import Commands, add_network, command


def add(commands: Commands) -> None:
    """parity, convert, export, view, models and estimate."""
    parity = command(commands, "parity", "compare with recordings of the original: is this the same model?")
    parity.add_argument("directory", type=Path, help="folder with recordings (*.npz)")

    convert = command(commands, "convert", "weights of the original in and out", takes_config=True)
    convert.add_argument(
        "source",
        type=Path,
        help="a torch state dict or .safetensors file, the original's folder of them, or a workdir of ours",
    )
    convert.add_argument("target", type=Path, help="a new workdir, or the file to write (.safetensors, else torch)")
    convert.add_argument("--trained-weights", action="store_true", help="write these, not their average")
    convert.add_argument("--compiled", action="store_true", help="write names with the prefix _orig_mod.")
    convert.add_argument(
        "--own", action="store_true", help="write our names and the experiment: a file that eval, solve and load read"
    )

    export = command(commands, "export", "write a model as one file that runs without this package")
    export.add_argument("source", type=Path, help="a workdir, a checkpoint in it, a file, or a model of `trm models`")
    about = "the file to be: .stablehlo (JAX) or .onnx (ONNX Runtime, browsers)"
    export.add_argument("file", type=output_file, help=about)
    about = "solve: from questions to answers; step: one step of that, for a loop of your own (solve)"
    export.add_argument("--program", default="solve", metavar="NAME", help=about)
    about = "of models of candidates: guesses that solve follows side by side (8)"
    export.add_argument("--chains", type=positive, metavar="N", help=about)
    about = "how the file holds them: float32, bf16, int8 or int4 (float32)"
    export.add_argument("--weights", default="float32", metavar="TYPE", help=about)
    about = "round int8, int4 by the model's way over 32 puzzles without answers: of this set, or its own held-out ones"
    export.add_argument("--calibrate", nargs="?", const=True, default=False, type=puzzles, metavar="SET", help=about)
    export.add_argument("--trained-weights", action="store_true", help="not their average")

    view = command(commands, "view", "a page in the browser that solves Sudokus or mazes with a model")
    about = "a workdir, a checkpoint in it, a file, or a model of `trm models`; of several the page offers each"
    view.add_argument("source", type=Path, nargs="+", help=about)
    view.add_argument("--port", type=arguments.port, default=8765, metavar="N", help="of 127.0.0.1; 0: any free (8765)")
    about = "folder `dist` of onnxruntime-web (node_modules/onnxruntime-web/dist)"
    view.add_argument("--runtime", type=Path, metavar="FOLDER", help=about)
    about = "write the page into this new folder instead, for any web server; it then works offline, too"
    view.add_argument("--save", type=arguments.new_folder, metavar="FOLDER", help=about)
    view.add_argument("--trained-weights", action="store_true", help="not their average")

    models = command(commands, "models", "list the trained models that come with the package")
    models.add_argument("name", nargs="?", help="print the card of this one")

    about = "count an experiment's weights and operations; which gradient policy fits into a device's memory"
    estimate = command(commands, "estimate", about, takes_config=True)
    estimate.add_argument(
        "--device-memory",
        type=arguments.memory,
        metavar="SIZE",
        help="plan for a device with so much, as in 80GiB (this one's)",
    )
    estimate.add_argument("--quick", action="store_true", help="counts alone, at once; nothing is compiled")
    estimate.add_argument("--json", action="store_true", help="as JSON")
    add_network(convert)
    add_network(export)
    add_network(view)
    add_network(estimate)
