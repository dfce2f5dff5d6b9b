"""Rules that a dataset keeps: taken where the user named that very file to build it, and run in no other case."""

import json
from pathlib import Path

import pytest

from trm_jax.data.kept_rules import Kept, is_kept, keep, kept_by, kept_from, rules_of
from trm_jax.errors import DataError, RulesError

# Whoever runs it leaves a trace.
RULES = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
def check(question, answer):
    return question == answer
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's list will be."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "trm_jax" / "rules.jsonl"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.py"
    path.write_text(RULES)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def ran(rules: Path) -> bool:
    return rules.with_name("ran").exists()


def test_they_are_taken_from_the_folder_that_was_built_with_them(
    rules: Path, out: Path, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(kept_from(rules), out)
    assert not ran(rules)
    found = rules_of(None, ["generated", tmp_path / "absent.csv", tmp_path, out])
    assert found is not None
    assert (found("a", "a"), found("a", "b")) == (True, False)
    assert capsys.readouterr().err == f"{out}: its rules are in {rules}: answers are checked by them\n"
    assert state.stat().st_mode & 0o777 == 0o600
    # The folder may go elsewhere; without one there is nothing.
    out.rename(tmp_path / "moved")
    assert rules_of(None, [tmp_path / "moved"]) is not None
    assert rules_of(None, [out, "a.csv"]) is None


def test_a_file_that_the_user_did_not_name_is_never_run(
    rules: Path, out: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A foreign folder may name any file, its own or one that is known to be there, and tell its hash."""
    keep(kept_from(rules), out)
    others = [json.loads((out / "rules.json").read_text()) | {"key": "0" * 32}]
    inside = out / "evil.py"
    inside.write_text(RULES)
    others += [kept_from(inside)._asdict(), others[0] | {"path": "rules.py"}]
    for other in others:
        (out / "rules.json").write_text(json.dumps(other))
        assert rules_of(None, [out]) is None
        told = capsys.readouterr().err
        assert told == (
            f"{out}: its rules are in {other['path']}, which you have not named here to build a dataset: "
            "give --rules FILE if you trust it\n"
        )
    # Nor is anything run where the list is gone, or holds what is none.
    keep(kept_from(rules), out)
    for text in ("", "[1]\n{}\nnone\n\xff\n"):
        state.write_text(text)
        assert rules_of(None, [out]) is None
    assert not ran(rules)
    assert not ran(inside)


def test_a_file_that_changed_or_went_is_told(rules: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(kept_from(rules), out)
    rules.write_text(RULES + "#")
    assert rules_of(None, [out]) is None
    assert capsys.readouterr().err == (
        f"{out}: its rules are in {rules}, which has changed since: "
        "give --rules FILE to check answers by what it is now\n"
    )
    assert not ran(rules)
    assert rules_of(None, [out], option=False) is None
    told = f"{out}: its rules are in {rules}, which has changed since: answers are not checked by them\n"
    assert capsys.readouterr().err == told
    # Named, it is run as it is.
    assert rules_of(rules, [out]) is not None
    assert ran(rules)
    rules.unlink()
    assert rules_of(None, [out]) is None
    told = f"{out}: its rules are in {rules}, which is no longer there: give --rules FILE to check answers\n"
    assert capsys.readouterr().err == told
    with pytest.raises(RulesError, match="no such file"):
        kept_from(rules)


def test_what_a_model_keeps_counts_where_no_dataset_keeps_any(
    rules: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its dataset may be gone; the user's list is asked all the same."""
    keep(kept_from(rules), out)
    kept = kept_by([tmp_path / "absent", tmp_path, out])
    assert kept is not None
    assert kept_by([tmp_path]) is None

    def told(sources: list[Path], of_model: Kept) -> str:
        found = rules_of(None, sources, "runs/mine", of_model)
        said = capsys.readouterr().err
        assert (found is not None) == said.endswith("answers are checked by them\n")
        return said

    foreign = kept._replace(key="0" * 32)
    assert told([tmp_path / "absent"], kept) == f"runs/mine: its rules are in {rules}: answers are checked by them\n"
    assert told([out], foreign) == f"{out}: its rules are in {rules}: answers are checked by them\n"
    (tmp_path / "ran").unlink()
    for other in (foreign, kept._replace(sha256="0" * 64), kept._replace(path=str(tmp_path / "link.py"))):
        assert "which you have not named here to build a dataset: give --rules FILE" in told([], other)
    # What a dataset says and is not to be trusted is not passed over for what the model says.
    (out / "rules.json").write_text(json.dumps(foreign._asdict()))
    assert told([out], kept).startswith(f"{out}: its rules are in {rules}, which you have not named here")
    rules.write_text(RULES + "#")
    assert "runs/mine: its rules are in" in (changed := told([], kept))
    assert "which has changed since: give --rules FILE" in changed
    rules.unlink()
    assert "which is no longer there: give --rules FILE" in told([], kept)
    assert not ran(rules)


def test_what_json_says_is_kept_rules_or_is_not() -> None:
    assert is_kept({"path": "a", "sha256": "b", "key": "c"})
    for value in (
        None,
        [],
        {},
        {"path": 1, "sha256": "", "key": ""},
        {"path": "", "sha256": "", "key": "", "more": ""},
    ):
        assert not is_kept(value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"path": 1, "sha256": "", "key": ""}', "{"])
def test_what_is_no_description_is_told(out: Path, text: str) -> None:
    (out / "rules.json").write_text(text)
    with pytest.raises(DataError, match=r"rules\.json: "):
        rules_of(None, [out])


def test_a_list_that_cannot_be_written_costs_the_name_alone(rules: Path, out: Path, state: Path) -> None:
    state.parent.parent.touch()  # a file where a folder should be
    keep(kept_from(rules), out)
    assert set(json.loads((out / "rules.json").read_text())) == set(Kept._fields)
    assert rules_of(None, [out]) is None
