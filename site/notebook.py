"""Runs a notebook and keeps it with its outputs as a page: `python site/notebook.py docs/notebooks/NAME.py FOLDER`.

The notebook runs in FOLDER, where what it writes is left, its pictures beside the page NAME.py.md.
"""

import sys
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
notebook = jupytext.read(source)
NotebookClient(notebook, timeout=3_600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
text, _ = MarkdownExporter().from_notebook_node(notebook)
(folder / f"{source.name}.md").write_text(text)
