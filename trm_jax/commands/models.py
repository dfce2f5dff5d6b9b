"""`trm models`: the trained models that come with the package, and their cards."""

from textwrap import fill

from rich.console import Console
from rich.table import Table

from trm_jax.runs.shipped import Card, card, names
from trm_jax.sizes import format_bytes

_WIDTH = 100


def run(name: str | None) -> None:
    """Prints the list of models, or the card of one. Raises CheckpointError where there is none of that name."""
    if name is None:
        table = Table(box=None, pad_edge=False)
        for column in ("name", "puzzle", "weights", "file", "about"):
            table.add_column(column, justify="right" if column in ("weights", "file") else "left")
        for each in map(card, names()):
            table.add_row(each.name, each.puzzle, f"{each.weights:,}", format_bytes(each.bytes), each.about)
        Console(highlight=False).print(table)
        print("\n`trm solve NAME PUZZLE`, `trm eval NAME FILE`, trm_jax.load(NAME); `trm models NAME` says more")
    else:
        print(_text(card(name)))


def _text(of: Card) -> str:
    """A card in lines for people."""
    facts = {
        "puzzle": of.puzzle,
        "weights": f"{of.weights:,} ({format_bytes(of.bytes)}), SHA-256 {of.sha256}",
        "licence": of.licence,
    }
    lines = [f"{of.name}: {of.about}", ""]
    lines += [_item(name, text) for name, text in (facts | dict(of.trained)).items()]
    for figure in of.figures:
        lines += ["", figure["what"], *(_item(name, text) for name, text in figure.items() if name != "what")]
    return "\n".join(lines)


def _item(name: str, text: str) -> str:
    return fill(text, _WIDTH, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14, break_long_words=False)
