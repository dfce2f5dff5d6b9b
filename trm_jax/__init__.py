"""The Tiny Recursive Model (arXiv 2510.04871) in JAX.

The design, floor by floor; imports only point downward:

    policies, chain, fixed_point                  gradients of long chains: what is kept, what is repeated
    layers, attention, recursion, losses, optim   mathematics; nothing here knows of files or time
    puzzles/, order                               kinds of puzzle and their symmetries; the order of training
    disk, folder, dataset, forms, model           files -> puzzles; a configuration -> pure functions
    sharding                                      which device has what, and all that crosses between devices
    supervision                                   the carry: which rows halt, which take a fresh puzzle
    step                                          one optimiser step on a state of arrays
    feed                                          batches, made inside the compiled step
    estimate, planner, collectives                what a step costs and sends, and which policy fits
    program                                       steps and their batches as one compiled program
    inference, selection                          many steps, many attempts; which of them to believe
    manifest, meta, step_folders, leaks           files, folders and libraries, made to be trusted
    checkpoint, writers                           what a run keeps in them: its state, its figures
    evaluate, arc_votes                           what is measured
    lock, signals, resume, watch, nans            what may go wrong with a run, and what then
    builders/                                     rows, contest files and generators -> datasets
    train, report, solve, convert, parity, demo   programs
    launchers, rendezvous, cluster                several processes find each other and become one machine
    cli                                           the command `trm`

Two things flow. A *batch* goes from indices through file rows and symmetries into the carry's data and the labels of
the loss. A *carry* goes from step to step, across devices, into the checkpoint and back.

Dimension key, used as suffixes of tensor names and in docstrings:
    B  batch                     L  positions, P + S
    S  cells of a puzzle         D  width of the model
    P  puzzle tokens in front    V  vocabulary
    K  latents z_1 ... z_K       R  length of a row of the puzzle table
    H  attention heads           C  width of one head
"""

from trm_jax.version import VERSION as __version__

__all__ = ["__version__"]
