"""What is said of an evaluation while weights are trained."""

from typing import cast

import pytest

from trm_jax.runs.evaluation import HeldOut, tell
from trm_jax.runs.writers import MetricsWriter


class _Writer:
    def write(self, step: int, figures: dict[str, float]) -> None:
        self.written = step, figures


@pytest.mark.parametrize(("step", "share"), [(100, "90%"), (2_000, "14%"), (3_500, "")])
def test_an_average_that_lags_behind_is_told(step: int, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    writer = _Writer()

    tell(HeldOut(0.5, {"eval/exact_accuracy": 0.5}, ("half",)), step, cast(MetricsWriter, writer), 0.999)

    assert writer.written == (step, {"eval/exact_accuracy": 0.5})
    lag = f"step {step}: {share} of the average are still the weights at the start: it lags behind training"
    assert capsys.readouterr().err.splitlines() == [f"step {step}: half", *[lag] * bool(share)]
