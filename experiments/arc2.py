"""ARC-AGI-2 with self-attention, trained on all its demonstrations and on ConceptARC (Table 5).

Paper: 7.8 % of the 120 evaluation tasks within two tries, 7M weights (arXiv 2510.04871). MLP mixer: 2.4.
Cost: 722,099 steps at batch 768, 221 EFLOP; the original took three days on four H100. Variant n6: 1.4 times.

    trm data arc data/arc2 --prefix arc-agi --subsets training2,evaluation2,concept --test evaluation2
    trm train --config=arc2 --workdir=runs/arc2 --config.data.train=data/arc2

Variants: "" has n = 4 latent steps, as in the original's command; "n6" has the 6 of the paper's text;
"smoke": tiny, for tests of the machine.

All else is as in arc1, where each value is explained, and how to draw forms instead of storing them, but for the
data: 1,280 tasks (1,000 training, 120 evaluation, 160 ConceptARC), about 1.19M identifiers (a table of 610M entries),
and 4.3326 training examples an identifier. The steps follow from these as they do there. Train either on this or on
ARC-AGI-1: the training tasks here contain evaluation tasks of the other.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import arc1, check_variant

VARIANTS = arc1.VARIANTS


def get_config(variant: str = "") -> ConfigDict:
    """The hyperparameters of the original's command; variant n6: those of the paper's text; variant smoke: tiny."""
    check_variant(variant, *VARIANTS)
    config = arc1.get_config(variant)
    config.name = config.name.replace("arc1", "arc2")
    if variant != "smoke":
        config.train.steps = 722_099  # 100,000 epochs
    return config
