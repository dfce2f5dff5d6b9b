"""trm eval, solve and calibrate: what asks a model for answers."""

import argparse
from pathlib import Path

from trm_jax.commands import arguments
from trm_jax.commands.arguments import count, output_folder, positive, whole
from trm_jax.commands.words.shared import (
    Commands,
    add_budget,
    add_columns,
    add_confidence,
    add_effort,
    add_legend,
    add_network,
    add_processes,
    command,
)


def add(commands: Commands) -> None:
    """eval, eval arc-score, solve and calibrate."""
    _add_eval(commands)
    _add_solve(commands)
    _add_calibrate(commands)


def _add_eval(commands: Commands) -> None:
    evaluate = command(
        commands, "eval", "accuracy of a checkpoint on puzzles; `trm eval arc-score` scores a submission"
    )
    _add_puzzles(evaluate, "tables or dataset folders (the experiment's own)")
    evaluate.add_argument("--trained-weights", action="store_true", help="not their average")
    evaluate.add_argument("--steps", default="", help="supervision steps to report on, e.g. 1,2,4,16,64 (N_sup)")
    add_effort(evaluate)
    add_budget(evaluate)
    evaluate.add_argument("--race", action="store_true", help="end all attempts at a puzzle when the first halts")
    evaluate.add_argument("--puzzle-ids", choices=("own", "blank", "random"), default="own", help="an ablation (own)")
    evaluate.add_argument("--pool", type=Path, nargs="+", default=[], help="checkpoints whose ARC votes are added")
    evaluate.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
    evaluate.add_argument("--json", type=arguments.json_file, help="also write all figures to this file")
    evaluate.add_argument("--table", type=arguments.csv_file, help="write accuracy against operations to this CSV file")
    evaluate.add_argument("--plot", type=arguments.png_file, help="draw accuracy against operations into this PNG file")
    evaluate.add_argument("--submission", type=arguments.json_file, help="write ARC answers in the contest's form")
    evaluate.add_argument("--devices", type=count, default=0, metavar="N", help="how many evaluate (0: all)")
    about = "how well the calibration beside the weights tells right answers from wrong ones, and keeps this promise"
    add_confidence(evaluate, about)
    about = "make the puzzles worse in known ways, and tell what the model does and claims"
    evaluate.add_argument("--stress", action="store_true", help=about)
    evaluate.add_argument("--stress-seed", type=whole, default=0, metavar="N", help="of what becomes of them (0)")
    about = "write these puzzles as dataset folders into this one"
    evaluate.add_argument("--stress-save", type=output_folder, metavar="DIR", help=about)
    add_processes(evaluate)

    arc_score = command(commands, "eval arc-score", "score a submission to an ARC contest")
    arc_score.add_argument("submission", type=Path, help="JSON file of attempts")
    arc_score.add_argument("solutions", type=Path, help="JSON file of solutions, or a dataset's test_puzzles.json")
    arc_score.add_argument("--tasks", action="store_true", help="print every task's score")
    arc_score.add_argument("--json", type=arguments.json_file, help="also write the scores to this file")
    add_network(evaluate)


def _add_solve(commands: Commands) -> None:
    solve = command(commands, "solve", "solve one puzzle, step by step, or a file of them, an answer a line")
    solve.add_argument("checkpoint", type=Path, help="a workdir, a checkpoint in it, or a model of `trm models`")
    solve.add_argument("puzzle", nargs="?", help="its characters, a file of one or several, or - for stdin (-)")
    about = "instead: a table or dataset folder (the experiment's own)"
    solve.add_argument("--data", type=arguments.puzzles, help=about)
    add_columns(solve)
    solve.add_argument("--row", type=arguments.row, help=f"which puzzle of --data (the first): {arguments.ROWS}")
    solve.add_argument("--split", default="test", help="of a dataset folder (test)")
    solve.add_argument("--steps", type=positive, default=0, help="supervision steps (N_sup)")
    add_effort(solve)
    add_budget(solve)
    solve.add_argument("--certify", action="store_true", help="show an answer that keeps the rules, or none at all")
    about = "and where the network has none, search to the end: solved, or shown to have no answer"
    solve.add_argument("--complete", action="store_true", help=about)
    solve.add_argument("--nodes", type=positive, default=1_000_000, help="of a complete search, at most (1000000)")
    add_confidence(solve, 'answers that are right as often as this, such as 0.99; "not sure" of the others')
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
    add_legend(solve)
    solve.add_argument("--picture", type=arguments.png_file, help="draw the answer after every step into this PNG file")
    solve.add_argument("--gif", type=arguments.gif_file, help="animate the answer after every cycle in this GIF file")
    add_network(solve)


def _add_calibrate(commands: Commands) -> None:
    about = "learn from held-out puzzles how sure an answer is, for `trm solve --confidence`"
    calibrate = command(commands, "calibrate", about)
    _add_puzzles(calibrate, "tables or dataset folders, held out (the experiment's own)")
    calibrate.add_argument("--steps", type=positive, default=0, help="supervision steps (N_sup)")
    add_effort(calibrate)
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
    add_network(calibrate)


def _add_puzzles(parser: argparse.ArgumentParser, about: str) -> None:
    """A model, and the puzzles that it is to answer; about: these."""
    parser.add_argument("checkpoint", type=Path, help="a workdir, a checkpoint in it, or a model of `trm models`")
    parser.add_argument("puzzles", nargs="?", type=arguments.puzzles, help=about)
    parser.add_argument("--split", default="test", help="of a dataset folder (test)")
    add_columns(parser)
    add_legend(parser)
    parser.add_argument("--limit", type=positive, default=0, help="read at most so many puzzles")
    parser.add_argument("--batch-size", type=positive, default=0, help="puzzles at once (as in the experiment)")
