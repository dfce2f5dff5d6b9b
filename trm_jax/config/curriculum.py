"""A curriculum of depth: a run in stages, in each of which the recursion has a depth of its own.

No array's shape depends on depth, so that one state goes through all stages; each of them is a program of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from trm_jax.config.values import Experiment
from trm_jax.errors import ConfigError, near_miss

# Values of config.model that a stage may set.
KEYS = ("latent_steps", "cycles", "grad_cycles", "supervision_steps")

_PAIR = r"\w+=[0-9]{1,9}"
_STAGE = re.compile(rf"({_PAIR}(?:\+{_PAIR})*)@(0?\.[0-9]{{1,9}})", re.ASCII)


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    name: what the curriculum says of it; "" of the last, which has the experiment's own depth.
    since, until: shares of config.train.steps that have passed at its beginning and at its end.
    experiment: what is trained meanwhile, which has no curriculum itself.
    """

    name: str
    since: Fraction
    until: Fraction
    experiment: Experiment

    @property
    def end(self) -> int:
        """The step that is its last one, counted from 1."""
        return round(self.until * self.experiment.train.steps)


def stages(experiment: Experiment) -> tuple[Stage, ...]:
    """The stages of a run in their order; one where there is no curriculum. Whether they keep the rules is not asked.

    Raises:
      ConfigError: the text is no curriculum.
    """
    text, found, since = experiment.train.curriculum, list[Stage](), Fraction(0)
    own = replace(experiment, train=replace(experiment.train, curriculum=""))
    for part in text.split(",") if text else ():
        matched = _STAGE.fullmatch(part)
        if matched is None:
            raise _fault(
                text,
                f"{part!r:.60} is no stage: give KEY=VALUE@SHARE, with a SHARE of config.train.steps between 0 and 1, "
                "as in latent_steps=1@0.3; + between several keys, commas between stages",
            )
        name, share = matched.groups()
        values, until = _values(text, name), Fraction(share)
        if until <= since:
            raise _fault(text, f"{part!r:.60} ends no later than it begins: let shares rise, from more than 0")
        found.append(Stage(name, since, until, replace(own, model=replace(own.model, **values))))
        since = until
    return (*found, Stage("", since, Fraction(1), own))


def deepest(experiment: Experiment) -> Experiment:
    """The experiment at the largest of each value that any of its stages has, so that no stage needs more memory."""
    own, *others = reversed([stage.experiment for stage in stages(experiment)])
    most: Mapping[str, Any] = {key: max(getattr(each.model, key) for each in (own, *others)) for key in KEYS}
    return replace(own, model=replace(own.model, **most))


def _values(text: str, name: str) -> Mapping[str, Any]:
    values: dict[str, int] = {}
    for pair in name.split("+"):
        key, _, value = pair.partition("=")
        if key not in KEYS:
            raise _fault(text, f"{key!r:.60} is no depth of config.model: {near_miss(key, KEYS)}")
        if key in values:
            raise _fault(text, f"{name!r:.60} has {key} twice: leave one out")
        values[key] = int(value)
    return values


def _fault(text: str, what: str) -> ConfigError:
    return ConfigError(f"config.train.curriculum = {text!r:.120}: {what}")
