"""The words of the command `trm`: what may be said to it, and how it is explained. What is done is elsewhere."""

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from trm_jax.commands import arguments
from trm_jax.commands.arguments import count, output_file, output_folder, positive, whole
from trm_jax.errors import ConfigError, near_miss
from trm_jax.version import VERSION

# What may begin with - besides a puzzle, which has at least four cells: options, and the numbers that these take.
_OPTION = re.compile(r"-h$|--[a-z][a-z.-]*(=|$)")
_NUMBER = re.compile(r"-[0-9.]+(e[-+]?[0-9]+)?")
_SHORTEST, _LONGEST_NUMBER = 4, 16
# What about an experiment is read by `arguments.load_experiment`.
_ABOUT_EXPERIMENT = re.compile(r"--config(\.[^=]*)?(=|$)", re.DOTALL)
# Groups of commands; alone, each prints its help, as `trm` does.
_GROUPS: tuple[list[str], ...] = ([], ["data"], ["ledger"])

_Commands: TypeAlias = "argparse._SubParsersAction[Any]"


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What is asked for, and the words that are left, which describe an experiment (`arguments.load_experiment`).

    Returns:
      A namespace whose `command` is the name of a command, such as "train" or "data sudoku", with its arguments, and
      `said` all that was said; and the words about an experiment, of a command that takes one.

    Raises:
      ConfigError: one line, for words that mean nothing.
    """
    words = list(words)
    if words in _GROUPS:
        words.append("--help")
    said = shlex.join(["trm", *words])
    if words[:2] == ["eval", "arc-score"]:
        words[:2] = ["eval arc-score"]
    # argparse takes no puzzle that begins with a dash, and any other only right behind the checkpoint.
    named = [word for word in words if _is_puzzle(word)] if words[:1] == ["solve"] else []
    args, rest = _parser().parse_known_args([word for word in words if word not in (named and [*named, "--"])])
    args.said = said
    if words[:1] == ["solve"]:
        named += [word for word in rest if not word.startswith("--")]
        rest = [word for word in rest if word.startswith("--") and word != "--"]
    if rest and not args.takes_config:
        raise ConfigError(f"unknown argument {rest[0]!r}: `trm {args.command} --help` tells what it takes")
    if named:
        if len(named) > 1 or args.puzzle is not None:
            raise ConfigError("several puzzles are named: write them into a file, one a line, and name that")
        args.puzzle = named[0]
    return args, rest


def _is_puzzle(word: str) -> bool:
    """Whether a word that begins as an option does is a puzzle whose first blank is written so."""
    if not word.startswith("-") or len(word) < _SHORTEST or _OPTION.match(word):
        return False
    return len(word) >= _LONGEST_NUMBER or not _NUMBER.fullmatch(word)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others, and name the option that is near to an unknown one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As always, but options that nobody knows are told here, where it is known which there are."""
        words = list(args or ())
        if words[:1] and self._subparsers is not None:
            self._check(words[:1])
        if self.get_default("takes_config") and arguments.CONFIG_HELP in words:
            for action in self._actions:  # help comes before what is missing
                action.required = False
        found, rest = super().parse_known_args(words, namespace)
        self._check(rest)
        return found, rest

    def _check(self, words: Sequence[str]) -> None:
        for word in words:
            name = word.partition("=")[0]
            if _OPTION.match(word) and name not in self._option_string_actions and not self._is_ours(word):
                known = [option for option in self._option_string_actions if option.startswith("--")]
                known += ["--config"] if self.get_default("takes_config") else []
                raise ConfigError(f"unknown option {name}: {near_miss(name, known)} (see `{self.prog} --help`)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            near = near_miss(value, list(action.choices))
            raise ConfigError(f"unknown command {value!r:.60}: {near} (see `{self.prog} --help`)")
        super()._check_value(action, value)

    def _is_ours(self, word: str) -> bool:
        """Whether a word is about an experiment, of a command that takes one."""
        takes_config = self.get_default("takes_config")
        return takes_config is not False and bool(_ABOUT_EXPERIMENT.match(word))

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trm",
        description="Tiny Recursive Models in JAX: train, evaluate, solve, compare.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trm_jax {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", "train a small model on generated Sudokus, evaluate it, draw what it does")
    demo.add_argument(
        "--workdir", type=output_folder, default=Path("runs/demo"), help="where everything goes (runs/demo)"
    )
    demo.add_argument("--variant", default="", help="of experiments/demo.py: another size of Sudoku")
    demo.add_argument(
        "--steps", type=positive, default=0, help="of training (as in the experiment); a few show the way"
    )

    train = _command(commands, "train", "train an experiment; the same command again resumes it", takes_config=True)
    train.add_argument("--workdir", type=output_folder, help="folder for checkpoints and metrics (runs/NAME)")
    train.add_argument(
        "--profile",
        type=arguments.window,
        default=range(0),
        metavar="FIRST:LAST",
        help="profile these steps into WORKDIR/profile",
    )
    train.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits in every run on GPUs too, perhaps slower; CPUs do that anyway",
    )
    train.add_argument(
        "--force", action="store_true", help="go on although the experiment or the puzzles are not those of the workdir"
    )
    train.add_argument(
        "--debug-nans", action="store_true", help="stop at the first number that is not finite and name its operation"
    )
    train.add_argument(
        "--max-minutes",
        type=arguments.minutes,
        default=0.0,
        metavar="M",
        help="stop after so long, saved; the same command goes on from there",
    )
    group = train.add_argument_group("weights to begin with", "short for --config.init.source, parts and new_rows")
    for flag, key, metavar, about in (
        ("from", "source", "SOURCE", "a workdir, a checkpoint in it, a .safetensors file, or a model of `trm models`"),
        ("parts", "parts", "PARTS", "network, heads, embeddings, table, with commas between, or all of them (all)"),
        (
            "new",
            "new_rows",
            "ROW",
            "puzzle ids that are new begin at zero, at the mean, or as the id of this name (zero)",
        ),
    ):
        word = arguments.value_of(f"init.{key}")
        group.add_argument(
            f"--init-{flag}", dest="init", action="append", default=[], type=word, metavar=metavar, help=about
        )
    _add_processes(train)

    about = "train an experiment at many points, and put each into the ledger; the same command again resumes it"
    sweep = _command(commands, "sweep", about, takes_config=True)
    _add_sweep(sweep)

    data = commands.add_parser(
        "data", help="build, check and show datasets", description="Build, check, show datasets."
    )
    _add_data(data.add_subparsers(title="commands", required=True, metavar="COMMAND"))

    evaluate = _command(
        commands, "eval", "accuracy of a checkpoint on puzzles; `trm eval arc-score` scores a submission"
    )
    evaluate.add_argument("checkpoint", type=Path, help="a workdir, a checkpoint in it, or a model of `trm models`")
    about = "tables or dataset folders (the experiment's own)"
    evaluate.add_argument("puzzles", nargs="?", type=arguments.puzzles, help=about)
    evaluate.add_argument("--split", default="test", help="of a dataset folder (test)")
    _add_columns(evaluate)
    _add_legend(evaluate)
    evaluate.add_argument("--limit", type=positive, default=0, help="read at most so many puzzles")
    evaluate.add_argument("--batch-size", type=positive, default=0, help="puzzles at once (as in the experiment)")
    evaluate.add_argument("--trained-weights", action="store_true", help="not their average")
    evaluate.add_argument("--steps", default="", help="supervision steps to report on, e.g. 1,2,4,16,64 (N_sup)")
    _add_effort(evaluate)
    _add_budget(evaluate)
    evaluate.add_argument("--race", action="store_true", help="end all attempts at a puzzle when the first halts")
    evaluate.add_argument("--puzzle-ids", choices=("own", "blank", "random"), default="own", help="an ablation (own)")
    evaluate.add_argument("--pool", type=Path, nargs="+", default=[], help="checkpoints whose ARC votes are added")
    evaluate.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
    evaluate.add_argument("--json", type=arguments.json_file, help="also write all figures to this file")
    evaluate.add_argument("--table", type=arguments.csv_file, help="write accuracy against operations to this CSV file")
    evaluate.add_argument("--plot", type=arguments.png_file, help="draw accuracy against operations into this PNG file")
    evaluate.add_argument("--submission", type=arguments.json_file, help="write ARC answers in the contest's form")
    evaluate.add_argument("--devices", type=count, default=0, metavar="N", help="how many evaluate (0: all)")
    about = "make the puzzles worse in known ways, and tell what the model does and claims"
    about = "how well the calibration beside the weights tells right answers from wrong ones, and keeps this promise"
    _add_confidence(evaluate, about)
    evaluate.add_argument("--stress", action="store_true", help=about)
    evaluate.add_argument("--stress-seed", type=whole, default=0, metavar="N", help="of what becomes of them (0)")
    about = "write these puzzles as dataset folders into this one"
    evaluate.add_argument("--stress-save", type=output_folder, metavar="DIR", help=about)
    _add_processes(evaluate)

    arc_score = _command(commands, "eval arc-score", "score a submission to an ARC contest")
    arc_score.add_argument("submission", type=Path, help="JSON file of attempts")
    arc_score.add_argument("solutions", type=Path, help="JSON file of solutions, or a dataset's test_puzzles.json")
    arc_score.add_argument("--tasks", action="store_true", help="print every task's score")
    arc_score.add_argument("--json", type=arguments.json_file, help="also write the scores to this file")

    solve = _command(commands, "solve", "solve one puzzle, step by step, or a file of them, an answer a line")
    solve.add_argument("checkpoint", type=Path, help="a workdir, a checkpoint in it, or a model of `trm models`")
    solve.add_argument("puzzle", nargs="?", help="its characters, a file of one or several, or - for stdin (-)")
    about = "instead: a table or dataset folder (the experiment's own)"
    solve.add_argument("--data", type=arguments.puzzles, help=about)
    _add_columns(solve)
    solve.add_argument("--row", type=arguments.row, help=f"which puzzle of --data (the first): {arguments.ROWS}")
    solve.add_argument("--split", default="test", help="of a dataset folder (test)")
    solve.add_argument("--steps", type=positive, default=0, help="supervision steps (N_sup)")
    _add_effort(solve)
    _add_budget(solve)
    solve.add_argument("--certify", action="store_true", help="show an answer that keeps the rules, or none at all")
    about = "and where the network has none, search to the end: solved, or shown to have no answer"
    solve.add_argument("--complete", action="store_true", help=about)
    solve.add_argument("--nodes", type=positive, default=1_000_000, help="of a complete search, at most (1000000)")
    _add_confidence(solve, 'answers that are right as often as this, such as 0.99; "not sure" of the others')
    solve.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
    solve.add_argument("--cycles", action="store_true", help="show every cycle T of every supervision step")
    solve.add_argument("--latents", action="store_true", help="show what z says after every latent step, beside y")
    about = "tell when each cell was decided and how often it changed; of a wrong answer, the clues against it"
    solve.add_argument("--cells", action="store_true", help=about)
    about = "tell which clues the answer in this cell rests on (both from 1)"
    solve.add_argument("--why", type=arguments.place, metavar="ROW,COLUMN", help=about)
    solve.add_argument("--quiet", action="store_true", help="print the answer alone, on one line")
    solve.add_argument("--json", action="store_true", help="print the answers as JSON")
    about = "write a table: all puzzles of --data or of the file, their answers, whether these are right"
    solve.add_argument("--answers", type=arguments.csv_file, metavar="FILE.csv", help=about)
    _add_legend(solve)
    solve.add_argument("--picture", type=arguments.png_file, help="draw the answer after every step into this PNG file")
    solve.add_argument("--gif", type=arguments.gif_file, help="animate the answer after every cycle in this GIF file")

    about = "learn from held-out puzzles how sure an answer is, for `trm solve --confidence`"
    calibrate = _command(commands, "calibrate", about)
    calibrate.add_argument("checkpoint", type=Path, help="a workdir, a checkpoint in it, or a model of `trm models`")
    about = "tables or dataset folders, held out (the experiment's own)"
    calibrate.add_argument("puzzles", nargs="?", type=arguments.puzzles, help=about)
    calibrate.add_argument("--split", default="test", help="of a dataset folder (test)")
    _add_columns(calibrate)
    _add_legend(calibrate)
    calibrate.add_argument("--limit", type=positive, default=0, help="read at most so many puzzles")
    calibrate.add_argument("--batch-size", type=positive, default=0, help="puzzles at once (as in the experiment)")
    calibrate.add_argument("--steps", type=positive, default=0, help="supervision steps (N_sup)")
    _add_effort(calibrate)
    calibrate.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
    calibrate.add_argument(
        "--confidence", type=arguments.share, default=0.99, metavar="P", help="the promise that is wanted (0.99)"
    )
    about = "the chance, over these puzzles, that some promise is not kept (0.05)"
    calibrate.add_argument("--delta", type=arguments.share, default=0.05, metavar="D", help=about)
    about = "the calibration to be (calibration.json in the workdir, or NAME.calibration.json beside the file)"
    calibrate.add_argument("--out", dest="written", type=arguments.json_file, metavar="FILE", help=about)
    calibrate.add_argument("--devices", type=count, default=0, metavar="N", help="how many evaluate (0: all)")
    calibrate.set_defaults(trained_weights=False, json=None)

    parity = _command(commands, "parity", "compare with recordings of the original: is this the same model?")
    parity.add_argument("directory", type=Path, help="folder with recordings (*.npz)")

    convert = _command(commands, "convert", "weights of the original in and out", takes_config=True)
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

    export = _command(commands, "export", "write a model as one file that runs without this package")
    export.add_argument("source", type=Path, help="a workdir, a checkpoint in it, a file, or a model of `trm models`")
    about = "the file to be: .stablehlo (JAX) or .onnx (ONNX Runtime, browsers)"
    export.add_argument("file", type=output_file, help=about)
    about = "solve: from questions to answers; step: one step of that, for a loop of your own (solve)"
    export.add_argument("--program", default="solve", metavar="NAME", help=about)
    about = "of models of candidates: guesses that solve follows side by side (8)"
    export.add_argument("--chains", type=positive, metavar="N", help=about)
    export.add_argument("--trained-weights", action="store_true", help="not their average")

    view = _command(commands, "view", "a page in the browser that solves Sudokus with a model")
    view.add_argument("source", type=Path, help="a workdir, a checkpoint in it, a file, or a model of `trm models`")
    view.add_argument("--port", type=arguments.port, default=8765, metavar="N", help="of 127.0.0.1; 0: any free (8765)")
    about = "folder `dist` of onnxruntime-web (node_modules/onnxruntime-web/dist)"
    view.add_argument("--runtime", type=Path, metavar="FOLDER", help=about)
    about = "write the page into this new folder instead, for any web server; it then works offline, too"
    view.add_argument("--save", type=arguments.new_folder, metavar="FOLDER", help=about)
    view.add_argument("--trained-weights", action="store_true", help="not their average")

    models = _command(commands, "models", "list the trained models that come with the package")
    models.add_argument("name", nargs="?", help="print the card of this one")

    about = "count an experiment's weights and operations; which gradient policy fits into a device's memory"
    estimate = _command(commands, "estimate", about, takes_config=True)
    estimate.add_argument(
        "--device-memory",
        type=arguments.memory,
        metavar="SIZE",
        help="plan for a device with so much, as in 80GiB (this one's)",
    )
    estimate.add_argument("--quick", action="store_true", help="counts alone, at once; nothing is compiled")
    estimate.add_argument("--json", action="store_true", help="as JSON")

    ledger = commands.add_parser(
        "ledger", help="figures on record: a row for each evaluation", description="Figures on record, row by row."
    )
    _add_ledger(ledger.add_subparsers(title="commands", required=True, metavar="COMMAND"))
    for takes_a_model in (train, sweep, evaluate, solve, calibrate, convert, export, view, estimate):
        takes_a_model.add_argument(
            "--network", type=Path, metavar="FILE", help="Python file that calls trm_jax.register_mixer, run first"
        )
    return parser


def _command(commands: _Commands, name: str, about: str, takes_config: bool = False) -> argparse.ArgumentParser:
    """A parser for the words of a command, which `args.command` then names."""
    usage = f"trm {name} --config=FILE[:VARIANT] [--config.GROUP.KEY=VALUE ...] [options]" if takes_config else None
    note = "--config=FILE --config.help lists every value of the experiment and what it means" if takes_config else None
    word = name.removeprefix("data ").removeprefix("ledger ")
    sub: argparse.ArgumentParser = commands.add_parser(
        word, help=about, description=about, usage=usage, epilog=note, allow_abbrev=False
    )
    sub.set_defaults(command=name, takes_config=takes_config)
    return sub


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=output_folder, required=True, help="folder with a folder for each point")
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="values to go through, in all combinations",
    )
    parser.add_argument(
        "--turn",
        action="append",
        default=[],
        metavar="KEY=VALUE[+KEY=VALUE]",
        help="a switch, or several at once, to be compared with the experiment without it",
    )
    parser.add_argument(
        "--pflop", type=arguments.pflop, metavar="X", help="train each for X * 1e15 operations (as the experiment says)"
    )
    parser.add_argument("--show", action="store_true", help="print the table as it stands, and run nothing")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    group = parser.add_argument_group("evaluation", "of the best weights of each point, or else its newest")
    about = "tables or dataset folders (the experiment's own)"
    group.add_argument("--eval", type=arguments.puzzles, metavar="SET", help=about)
    group.add_argument("--limit", type=positive, help="read at most so many puzzles")
    group.add_argument(
        "--eval-steps",
        type=arguments.positives,
        default=[],
        metavar="N,N",
        help="supervision steps to report on (N_sup)",
    )
    group.add_argument("--calls", type=positive, help="of models of candidates: calls for a puzzle, at most (1024)")
    group.add_argument("--chains", type=positive, help="likewise: chains of guesses, side by side (8)")
    group.add_argument("--seconds", type=arguments.seconds, help="likewise: for a puzzle, at most (no limit)")
    rows = parser.add_argument_group("rows of the ledger")
    rows.add_argument(
        "--ledger", type=arguments.jsonl_file, metavar="FILE", help="another ledger than the repository's"
    )
    rows.add_argument("--beside", default="", metavar="TEXT", help="what else the machine did meanwhile")
    rows.add_argument("--note", default="", metavar="TEXT", help="what has to be said beside the figures")


def _add_processes(parser: argparse.ArgumentParser) -> None:
    about = "found by themselves under SLURM, Open MPI and on Cloud TPUs; elsewhere start each with these"
    group = parser.add_argument_group("several processes", about)
    group.add_argument(
        "--coordinator", type=arguments.address, metavar="HOST:PORT", help="where process 0 is to listen"
    )
    group.add_argument("--processes", type=positive, default=0, metavar="N", help="how many; 1 stays alone anyway")
    group.add_argument("--process", type=count, default=-1, metavar="I", help="which of them this is, from 0")
    group.add_argument(
        "--start-timeout", type=positive, default=30, metavar="SECONDS", help="in which all have to come (30)"
    )


def _add_effort(parser: argparse.ArgumentParser) -> None:
    """The switches of `Effort`, but for the supervision steps."""
    parser.add_argument("--halting", action="store_true", help="end an attempt at the first step with q_halt > 0")
    parser.add_argument("--halt-above", type=arguments.logit, default=0.0, help="the q_halt that it takes to halt (0)")
    parser.add_argument("--attempts", type=positive, default=1, help="K tries at each puzzle (1)")
    parser.add_argument(
        "--start-noise", type=arguments.noise, default=0.0, help="on y and z at first, of tries but the first"
    )
    parser.add_argument(
        "--latent-noise", type=arguments.noise, default=0.0, help="on z before each supervision step, likewise"
    )
    parser.add_argument("--symmetries", action="store_true", help="tries but the first see the puzzle turned")
    parser.add_argument(
        "--select", default="", help="the try to believe: first, q, change, vote, rules (rules if known, else q)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of noise and symmetries (0)")


def _add_confidence(parser: argparse.ArgumentParser, about: str) -> None:
    """The switches that ask for a calibration."""
    parser.add_argument("--confidence", type=arguments.share, default=0.0, metavar="P", help=about)
    about = "that `trm calibrate` has written (the one beside the weights)"
    parser.add_argument("--calibration", type=Path, metavar="FILE", help=about)


def _add_budget(parser: argparse.ArgumentParser) -> None:
    """The switches of `Budget`, for models of candidates."""
    group = parser.add_argument_group("search", "models of candidates search, with a verifier")
    group.add_argument("--calls", type=positive, default=1_024, help="of the network on a puzzle, at most (1024)")
    group.add_argument("--seconds", type=arguments.seconds, default=0.0, help="for a puzzle, at most (no limit)")
    group.add_argument("--chains", type=positive, default=8, help="of guesses, side by side (8)")


def _add_ledger(kinds: _Commands) -> None:
    add = _command(kinds, "ledger add", "add the row of a run, or of an evaluation of its weights")
    add.add_argument("run", type=Path, metavar="RUN_DIR", help="folder that `trm train` has written")
    add.add_argument("--eval", type=Path, metavar="FILE", help="figures that `trm eval --json FILE` has written")
    add.add_argument("--beside", default="", metavar="TEXT", help="what else the machine did while this was trained")
    add.add_argument("--note", default="", metavar="TEXT", help="what has to be said beside the figures")
    about = "of a run that has not recorded one (trained by an older version)"
    add.add_argument("--commit", type=arguments.commit, metavar="HASH", help=f"the commit {about}")
    add.add_argument("--here", action="store_true", help=f"this is the machine {about}")

    show = _command(kinds, "ledger show", "print the ledger as a table")
    show.add_argument("--experiment", default="", metavar="NAME", help="rows of this one alone, with its variants")
    show.add_argument("--rows", type=arguments.names, default=[], metavar="ID,ID", help="these rows alone")
    show.add_argument("--columns", type=arguments.names, default=[], metavar="NAME,NAME", help="these columns alone")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="for a page, under a line by which `check` knows it")
    form.add_argument("--json", action="store_true", help="the rows themselves")

    check = _command(kinds, "ledger check", "look whether rows are well-formed and tables on our pages equal them")
    for sub in (add, show, check):
        sub.add_argument(
            "--ledger", type=arguments.jsonl_file, metavar="FILE", help="another ledger than the repository's"
        )


def _add_data(kinds: _Commands) -> None:
    sudoku = _command(kinds, "data sudoku", "build a Sudoku dataset, from tables or generated")
    _add_pairs(sudoku)
    sudoku.add_argument("--box", type=arguments.box, help="rows x columns of a box, e.g. 2x3 (by the number of cells)")
    sudoku.add_argument("--augmentations", type=count, default=0, help="images of each training puzzle (0)")
    sudoku.add_argument(
        "--min-rating",
        type=count,
        help="of training rows (column rating), or generate: of all",
    )
    sudoku.add_argument("--clues", type=arguments.low_high, help="generate: LOW,HIGH clues, drawn evenly")
    sudoku.add_argument("--minimal", action="store_true", help="generate: no clue can go")

    maze = _command(kinds, "data maze", "build a maze dataset, from tables or generated")
    _add_pairs(maze)
    maze.add_argument("--size", type=arguments.size, help="rows x columns, e.g. 30x30 (of a table: a square)")
    maze.add_argument("--min-length", type=positive, help="generate: steps of a shortest path at least")
    maze.add_argument("--perfect", action="store_true", help="generate: mazes with one path between any two cells")
    maze.add_argument("--augment", action="store_true", help="each training maze with its mirror images and turns")

    arc = _command(kinds, "data arc", "build an ARC dataset from the contests' JSON files")
    arc.add_argument("out", type=arguments.new_folder, help="the dataset folder to be")
    arc.add_argument("--prefix", default="", help="of PREFIX_SUBSET_challenges.json, or of folders PREFIX/SUBSET")
    arc.add_argument("--subsets", type=arguments.names, default=[], help="e.g. training,evaluation,concept")
    arc.add_argument(
        "--files", nargs="+", default=[], metavar="CHALLENGES[:SOLUTIONS]",
        help="files, or folders with a file for each task; each is a subset of its name, less _challenges.json",
    )  # fmt: skip
    arc.add_argument("--test", type=arguments.names, default=[], help="subsets whose test examples are held out")
    arc.add_argument("--augmentations", type=count, default=1000, help="of each task, besides itself (1000)")
    arc.add_argument("--seed", type=count, default=0, help="of the augmentations (0)")
    _add_overlap(arc)

    grid = _command(kinds, "data grid", "build a dataset of your own puzzle on a grid")
    grid.add_argument("out", type=arguments.new_folder, help="the dataset folder to be")
    grid.add_argument("--train", type=Path, required=True, help="CSV or JSON file of questions and answers")
    grid.add_argument("--test", type=Path, help="another, for the test split")
    grid.add_argument("--shape", type=arguments.size, required=True, help="rows x columns, e.g. 5x5")
    grid.add_argument("--alphabet", required=True, help="its characters, the blank first, e.g. .01234#O")
    grid.add_argument("--symmetries", default="", help="under which a puzzle stays one, e.g. 'dihedral relabel(123)'")
    _add_columns(grid)
    grid.add_argument(
        "--rules", type=Path, help="Python file with check(question, answer), which every row has to pass"
    )
    grid.add_argument("--holdout", type=count, default=0, help="so many training rows become the test split")
    grid.add_argument("--augmentations", type=count, default=0, help="images of each training puzzle (0)")
    _add_choice(grid)
    _add_overlap(grid)

    verify = _command(kinds, "data verify", "check datasets and tables, and what they have in common")
    verify.add_argument("paths", type=Path, nargs="+", help="dataset folders and tables")
    _add_kind(verify)
    verify.add_argument("--quick", action="store_true", help="prove neither single solutions nor augmented images")
    verify.add_argument("--workers", type=positive, default=1, help="processes for the proofs (1)")
    verify.add_argument("--json", type=arguments.json_file, help="also write what was found to this file")

    show = _command(kinds, "data show", "print examples of a dataset or a table")
    show.add_argument("path", type=Path, help="dataset folder or table")
    show.add_argument("--split", default="", help="of a dataset folder (the first: train)")
    which = show.add_mutually_exclusive_group()
    which.add_argument("--rows", type=arguments.rows, default=[], help=f"which, e.g. 2,5,7: {arguments.ROWS}")
    which.add_argument("--count", type=positive, default=3, help="the first so many (3)")
    show.add_argument("--picture", type=arguments.png_file, help="also draw them into this PNG file")
    _add_kind(show)

    download = _command(kinds, "data download", "fetch a public benchmark from the Hugging Face Hub")
    download.add_argument("name", help="sudoku-extreme, sudoku-extreme-1k or maze-hard")
    download.add_argument("--to", type=arguments.new_folder, help="the folder to be (data/NAME)")
    download.add_argument("--revision", default="", help="a commit of the repository (the one on record)")


def _add_pairs(sub: argparse.ArgumentParser) -> None:
    """What Sudokus and mazes have in common."""
    sub.add_argument(
        "out", type=arguments.new_folder_or_table, help="the folder to be, or a table to generate (.csv, .csv.gz)"
    )
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", type=Path, help="CSV or JSON file of questions and answers, plain or .gz")
    source.add_argument("--generate", type=arguments.amounts, metavar="TRAIN[,TEST]", help="make so many puzzles")
    sub.add_argument("--test", type=Path, help="file of the test puzzles")
    sub.add_argument("--workers", type=positive, help="generate: processes (all cores; 1 for few puzzles)")
    _add_columns(sub)
    _add_legend(sub)
    _add_choice(sub)
    _add_overlap(sub)


def _add_choice(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--limit", type=positive, default=0, help="only the first so many training rows")
    sub.add_argument("--sample", type=positive, default=0, help="only so many of them, drawn at random")
    sub.add_argument("--seed", type=count, default=0, help="of all that is drawn (0)")


def _add_overlap(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--overlap", choices=("refuse", "drop", "keep"), default="refuse",
        help="training puzzles that are test puzzles up to symmetry (refuse)",
    )  # fmt: skip


def _add_legend(sub: argparse.ArgumentParser) -> None:
    about = "characters of the cells: of mazes wall, free, start, goal, path, e.g. '#.SE*'; of Sudokus blank, digits"
    sub.add_argument("--legend", default="", help=about)


def _add_columns(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--columns", type=arguments.columns, default=("", ""), metavar="QUESTION,ANSWER",
        help="of a table; in JSON, the keys (usual names, such as question,answer or puzzle,solution)",
    )  # fmt: skip


def _add_kind(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--puzzle", default="", help="sudoku, maze, arc or JSON, where the files do not tell")
    sub.add_argument("--size", type=arguments.size, help="rows x columns of mazes that are no squares, e.g. 5x8")
    _add_legend(sub)
    _add_columns(sub)
    sub.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
