"""Runs a notebook and keeps it with its outputs as a page: `python site/notebook.py docs/notebooks/NAME.py FOLDER`.

It runs in an empty folder of its own; the page NAME.py.md and the pictures that it has drawn are left in FOLDER.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
notebook = jupytext.read(source)
with TemporaryDirectory() as place:
    NotebookClient(notebook, timeout=3_600, kernel_name="python3", resources={"metadata": {"path": place}}).execute()
    for picture in Path(place).glob("*.png"):
        shutil.copy(picture, folder)
text, _ = MarkdownExporter().from_notebook_node(notebook)
(folder / f"{source.name}.md").write_text(text)
