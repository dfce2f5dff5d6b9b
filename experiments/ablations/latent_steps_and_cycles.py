"""How deep to recurse: n latent steps and T cycles (Table 3), one variant for each row.

    variant   paper, %        network applications' worth a step, against sudoku_mlp's 35
    n2_T1     63.2            9    0.26
    n4_T2     81.9            20   0.57
    n6_T3     87.4            35   1.00   (sudoku_mlp; also what no variant gives)
    n8_T4     84.2            54   1.54
    n6_T6     85.8            56   1.60
    n12_T3    out of memory   78   2.23   (65 and the 13 that are computed twice)
    n12_T6    out of memory   117  3.34   (104 and 13)

    trm train --config=ablations/latent_steps_and_cycles:n8_T4 --workdir=runs/n8_T4 \
        --config.data.train=train.csv

The cost is (T + 2)(n + 1): T - 1 cycles forward, and one forward and backward at three times the price. The
two variants that the paper could not run recompute network applications in the backward pass; that changes
memory and time, not the gradients. Variant smoke: n12_T6 made tiny, for
tests of the machine.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import check_variant, smoke, sudoku_mlp

VARIANTS = ("n2_T1", "n4_T2", "n6_T3", "n8_T4", "n12_T3", "n6_T6", "n12_T6", "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """sudoku_mlp with the variant's n and T."""
    check_variant(variant, *VARIANTS)
    config = sudoku_mlp.get_config()
    named = "n12_T6" if variant == "smoke" else variant or "n6_T3"
    n, cycles = (int(part[1:]) for part in named.split("_"))
    config.name = f"latent_steps_and_cycles_n{n}_T{cycles}"
    config.model.latent_steps = n
    config.model.cycles = cycles
    config.memory.policy = "step" if n == 12 else "none"  # one cycle of n = 12 keeps more than the paper's GPUs had
    return smoke(config) if variant == "smoke" else config
