"""The picture of a calibration: the curves that were found, and the promise."""

from pathlib import Path

import numpy as np
import pytest

from trm_jax.display import reliability as drawing
from trm_jax.inference.confidence import Evidence, calibrate
from trm_jax.inference.reliability import reliability


@pytest.mark.slow
def test_curves_are_those_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(900, 4))
    right = signals @ [0.0, 1.0, 2.0, 0.0] + rng.logistic(size=900) > -4
    found = Evidence(("q", "rest", "margin", "agreement"), signals, right)
    report = reliability(found, calibrate(found, 0.95, 0.05), 0.95, 1.0)
    figures = []
    monkeypatch.setattr(drawing, "save_figure", lambda figure, path: figures.append(figure))
    drawing.draw_reliability(tmp_path / "a.png", report, "a model")
    risk, diagram = figures[0].axes
    drawn = {line.get_label(): line.get_xydata() for line in risk.lines}
    for row in report.signals:
        np.testing.assert_allclose(drawn[row.name], np.stack([row.coverage, row.risk], axis=1))
    assert report.asked is not None
    assert report.asked.wrong is not None
    points = [tuple(line.get_xydata()[0]) for line in risk.lines if len(line.get_xydata()) == 1]
    assert points == [(report.asked.answered.value, report.asked.wrong.value)]
    bins = [bin[1:] for bin in report.signals[-1].calibration.bins if bin[1] is not None]
    (line,) = [line for line in diagram.lines if line.get_label() == "all"]
    np.testing.assert_allclose(line.get_xydata(), bins)
