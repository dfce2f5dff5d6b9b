"""Declared grids: their text, their symmetries as a group, canonical forms, and whatever can be declared wrongly."""

import itertools
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles import declared
from trm_jax.puzzles.dihedral import dihedral_indices
from trm_jax.puzzles.grid import Grid

EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))
ARROWS = "fliplr(<>) flipud(^v) transpose(<^ >v)"


def refused(call, *args) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        call(*args)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert len(text) < 400
    return text


def elements(description: Grid, draws: int = 3000) -> set[tuple[bytes, bytes]]:
    """All symmetries that turn up."""
    drawn = description.draw(np.random.default_rng(0), draws)
    return {(c.tobytes(), t.tobytes()) for c, t in zip(drawn.cells, drawn.tokens, strict=True)}


def images(description: Grid, tokens) -> set[bytes]:  # type: ignore[no-untyped-def]
    drawn = description.draw(np.random.default_rng(1), 500)
    return {row.tobytes() for row in drawn.apply(np.tile(tokens, (500, 1)))}


def test_text_round_trips_and_keeps_spaces():
    description = Grid((2, 3), "# SG")
    tokens = description.parse(" # \r\nS G")
    assert tokens.tolist() == [2, 1, 2, 3, 2, 4]
    assert tokens.dtype == np.uint8
    assert description.to_text(tokens) == " # S G"
    assert description.render(tokens) == " # \nS G"
    np.testing.assert_array_equal(description.parse(description.render(tokens)), tokens)
    assert (description.cells, description.vocab_size) == (6, 5)
    widest = Grid((1, 255), "".join(map(chr, range(0x4E00, 0x4E00 + 255))))
    assert widest.parse(widest.alphabet).tolist() == list(range(1, 256))
    assert widest.to_text(np.arange(1, 256)) == widest.alphabet
    assert widest.canonical(np.arange(1, 256)).tolist() == [list(range(1, 256))]


def test_what_is_no_grid_of_the_alphabet_is_placed():
    description = Grid((2, 3), "# SG")
    assert (
        refused(description.parse, "# #\n#x#")
        == "'x' in line 2, column 2 of the text (r2c2) is not in the alphabet '# SG'"
    )
    assert refused(description.parse, "\t") == "'\\t' in line 1, column 1 of the text is not in the alphabet '# SG'"
    assert refused(description.parse, "# ###") == "5 cells found, but a grid of 2 x 3 is needed"
    assert refused(description.parse, "") == "0 cells found, but a grid of 2 x 3 is needed"
    assert refused(description.to_text, [1, 2, 3, 4, 5, 1]) == "r2c2 is token 5, but tokens go from 0 to 4"
    assert refused(description.to_text, [1, 2, -3, 4, 1, 1]) == "r1c3 is token -3, but tokens go from 0 to 4"
    assert refused(description.to_text, [1, 2, 3, 0, 1, 1]) == "r2c1 is padding, which has no character"
    assert refused(description.to_text, [1, 2, 3]).startswith("3 cells found")
    assert refused(description.to_text, np.ones((2, 6), int)).startswith("12 cells found")
    assert refused(description.canonical, np.ones((2, 6))) == "tokens are float64, but integers are needed"
    assert refused(description.canonical, np.ones((2, 6), int), np.ones((1, 6), int)).startswith("2 questions, but 1")


def test_the_names_of_the_maps_are_those_of_dihedral_indices():
    for name, cells in zip(declared._NAMES, dihedral_indices((4, 4)), strict=True):
        assert (cells.tobytes(), np.arange(3, dtype=np.int32).tobytes()) in elements(Grid((4, 4), "ab", name))
    image = Grid((2, 2), "abcd", "rot90")
    assert images(image, image.parse("ab\ncd")) == {
        image.parse(text).tobytes() for text in ("abcd", "bdac", "dcba", "cadb")
    }


@pytest.mark.parametrize(
    ("shape", "symmetries", "order"),
    [
        ((3, 3), "", 1),
        ((3, 3), "   ", 1),
        ((3, 3), "rot180", 2),
        ((3, 3), "rot90", 4),
        ((3, 3), "rot270 rot90", 4),
        ((3, 3), "fliplr flipud", 4),
        ((3, 3), "fliplr transpose", 8),
        ((3, 3), "transpose antitranspose", 4),
        ((3, 3), "dihedral", 8),
        ((3, 4), "fliplr flipud", 4),
        ((3, 4), "rot180 flipud(12)", 4),
        ((3, 3), "relabel(123)", 6),
        ((3, 3), "relabel(123) relabel(<>)", 12),
        ((3, 3), "relabel(12) relabel(<>) transpose(1< 2>)", 8),
        ((3, 3), "fliplr(12) relabel(123)", 12),
        ((3, 3), "rot90(<v>^)", 4),
        ((3, 3), "  " + ARROWS + "  relabel(123) ", 48),
        ((3, 3), "rot90(12)", 4),
    ],
)
def test_the_declared_symmetries_make_a_group(shape, symmetries, order):
    description = Grid(shape, "<>^v123", symmetries)
    found = elements(description)
    assert len(found) == order
    tables = [(np.frombuffer(c, np.int32), np.frombuffer(t, np.int32)) for c, t in sorted(found)]
    for (cells, tokens), (more_cells, more_tokens) in itertools.product(tables, tables):
        assert (cells[more_cells].tobytes(), more_tokens[tokens].tobytes()) in found
    for _, tokens in tables:
        assert tokens[0] == 0
        assert sorted(tokens) == list(range(8))


def test_every_symmetry_is_drawn_equally_often():
    description = Grid((2, 2), "<>12", "fliplr(<>) flipud relabel(12)")
    drawn = description.draw(np.random.default_rng(0), 8000)
    _, counts = np.unique(np.hstack([drawn.cells, drawn.tokens]), axis=0, return_counts=True)
    assert len(counts) == 8
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 7 / 8)


def test_words_say_the_map_and_each_sets_order():
    description = Grid((2, 2), "<>bxay", "fliplr(<>) relabel(ab) relabel(yx)")
    assert description.words == 5
    words = np.array([[6, 1, 2, 3, 4], [7, 2, 1, 3, 4], [0, 1, 2, 4, 3]], np.uint32)
    drawn = description.drawn(words)
    mirrored, straight = [1, 0, 3, 2], [0, 1, 2, 3]
    assert drawn.cells.tolist() == [straight, mirrored, straight]
    # Tokens: 0 padding, 1 '<', 2 '>', 3 'b', 4 'x', 5 'a', 6 'y'.
    assert drawn.tokens.tolist() == [[0, 1, 2, 3, 4, 5, 6], [0, 2, 1, 5, 4, 3, 6], [0, 1, 2, 3, 6, 5, 4]]
    assert Grid((2, 2), "ab").words == 1


@pytest.mark.parametrize("symmetries", [ARROWS, "rot90(<v>^)", "rot90(<v>^) fliplr(<>)", "rot180(<> ^v)"])
def test_arrows_still_point_at_the_same_neighbour(symmetries):
    """Every cell has its own letter; wherever it goes, the arrow beside it points the way it pointed."""
    side = 3
    description = Grid((side, side), "<>^v", symmetries)
    aim = dict(zip(range(1, 5), ((0, -1), (0, 1), (-1, 0), (1, 0)), strict=True))
    rng = np.random.default_rng(0)
    arrows = rng.integers(1, 5, (200, side * side))
    drawn = description.draw(rng, 200)
    for before, after, cells in zip(arrows, drawn.apply(arrows), drawn.cells, strict=True):
        where = {int(source): divmod(target, side) for target, source in enumerate(cells)}
        for source in range(side * side):
            row, column = divmod(source, side)
            down, right = aim[int(before[source])]
            if 0 <= row + down < side and 0 <= column + right < side:
                neighbour = where[(row + down) * side + column + right]
                new_down, new_right = aim[int(after[np.ravel_multi_index(where[source], (side, side))])]
                assert neighbour == (where[source][0] + new_down, where[source][1] + new_right)


@pytest.mark.parametrize(
    ("shape", "symmetries"),
    [
        ((2, 2), ""),
        ((2, 2), "rot90"),
        ((2, 2), "dihedral relabel(abc)"),
        ((2, 2), "rot90(ab)"),
        ((2, 2), "fliplr(ab) transpose relabel(ab)"),
        ((2, 3), "fliplr(ab) flipud relabel(ab)"),
        ((1, 4), "rot180(bc)"),
    ],
)
def test_canonical_forms_are_equal_just_for_images(shape, symmetries):
    """Against the orbits of all grids, found by applying every symmetry."""
    description = Grid(shape, "abc", symmetries)
    cells = shape[0] * shape[1]
    everything = np.array(list(itertools.product(range(1, 4), repeat=cells)), np.uint8)
    form_of = {
        row.tobytes(): form.tobytes() for row, form in zip(everything, description.canonical(everything), strict=True)
    }
    orbit_of: dict[bytes, frozenset[bytes]] = {}
    for row in everything[:: 1 if cells < 6 else 7]:
        orbit_of[row.tobytes()] = frozenset(images(description, row))
    for row, orbit in orbit_of.items():
        assert {form_of[image] for image in orbit} == {form_of[row]}
        assert form_of[row] in orbit
    if cells < 6:
        assert len(set(form_of.values())) == len(set(orbit_of.values()))


def test_a_pair_is_turned_together():
    description = Grid((1, 2), "ab", "fliplr")
    same, ab, ba = ([description.parse(text)] for text in ("aa", "ab", "ba"))
    assert (description.canonical(ab) == description.canonical(ba)).all()
    # The question is its own mirror image, so answers that mirror each other belong together ...
    assert (description.canonical(same, ab) == description.canonical(same, ba)).all()
    # ... but where the question has turned the answer must have, too.
    assert (description.canonical(ab, ab) == description.canonical(ba, ba)).all()
    assert not (description.canonical(ab, ab) == description.canonical(ab, ba)).all()
    assert description.canonical(ab, ab).shape == (1, 4)
    renamed = Grid((1, 3), ".12", "relabel(12)")
    questions, answers = ([renamed.parse(text) for text in texts] for texts in (("2..", "1.."), ("212", "121")))
    forms = renamed.canonical(questions, answers)
    assert (forms[0] == forms[1]).all()
    assert renamed.to_text(forms[0, 3:]) == "121"


def test_padding_stays_padding():
    description = Grid((2, 2), "ab", "dihedral relabel(ab)")
    tokens = np.array([[0, 2, 1, 2]])
    assert (description.draw(np.random.default_rng(0), 50).apply(np.tile(tokens, (50, 1))) == 0).sum() == 50
    assert description.canonical(tokens).tolist() == [[0, 1, 2, 1]]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(
        ["dihedral relabel(bc)", ARROWS + " relabel(abc)", "fliplr(ab) flipud relabel(c<>)", "rot180 relabel(a\\ b)"]
    ),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_images_have_the_same_canonical_form(symmetries, side, seed, both):
    rng = np.random.default_rng(seed)
    description = Grid((side, side), "abc<>^v ", symmetries)
    questions, answers = rng.integers(0, 9, (2, 5, side * side))
    drawn = description.draw(rng, 5)
    before, after = (questions, answers), (drawn.apply(questions), drawn.apply(answers))
    forms, turned = (description.canonical(*(pair if both else pair[:1])) for pair in (before, after))
    np.testing.assert_array_equal(forms, turned)
    # A form is one of the images, so it is its own form; and the inverse of a drawn symmetry leads back.
    np.testing.assert_array_equal(description.canonical(*np.split(forms, 1 + both, axis=1)), forms)
    np.testing.assert_array_equal(drawn.inverse().apply(after[0]), questions)


@pytest.mark.parametrize(
    ("symmetries", "expected"),
    [
        (
            "flip",
            "'flip' is unknown; known are rot90, rot180, rot270, fliplr, flipud, transpose, antitranspose, dihedral",
        ),
        ("rot90\tfliplr", "'rot90\\tfliplr' is unknown"),
        ("x" * 1000, f"'{'x' * 40}...' is unknown"),
        ("fliplr(ax)", "'fliplr(ax)' names 'x', which is not in the alphabet 'abcdefg '; add it there, or remove it"),
        ("rot90 relabel(a\n)", "'relabel(a\\n)' names '\\n', which is not in the alphabet"),
        ("fliplr(aa)", "'fliplr(aa)' names 'a' twice"),
        ("fliplr(ab cb)", "'fliplr(ab cb)' names 'b' twice"),
        ("relabel(aba)", "'relabel(aba)' names 'a' twice"),
        ("fliplr()", "'fliplr()' needs two characters or more together in the brackets"),
        ("fliplr(ab c)", "'fliplr(ab c)' needs two characters or more together in the brackets"),
        ("relabel(a)", "'relabel(a)' needs two characters or more"),
        ("relabel", "'relabel' needs one set, such as relabel(123); write '\\ ' for the space"),
        ("relabel(ab cd)", "'relabel(ab cd)' needs one set"),
        ("relabel(ab) relabel(bc)", "'relabel(bc)' names a character that another relabel has, too"),
        ("dihedral(ab)", "'dihedral(ab)' renames nothing; name the maps"),
        ("fliplr fliplr(ab)", "'fliplr(ab)' says again what fliplr is, after 'fliplr'; keep one of them"),
        ("fliplr(ab) dihedral", "'dihedral' says again what fliplr is, after 'fliplr(ab)'"),
        ("fliplr(ab", "'fliplr(ab' is not readable; separate items by spaces, close brackets"),
        ("fliplr(ab\\)", "'fliplr(ab\\\\)' is not readable"),
        ("rot180 fliplr)", "'fliplr)' is not readable"),
        ("(ab)", "'(ab)' is not readable"),
        ("fliplr (ab)", "'(ab)' is not readable"),
        ("fliplr(ab)flipud", "'fliplr(ab)flipud' is not readable"),
        ("fliplr((ab))", "'fliplr((ab))' is not readable"),
        ("fliplr(bc) relabel(ab)", "'fliplr(bc)' turns some of the interchangeable characters 'ab' into others"),
        ("fliplr(ac) relabel(ab) relabel(cd)", "'fliplr(ac)' turns some of the interchangeable characters 'ab'"),
        ("rot90(abc)", "the maps do not fit together, as they make 'a' both 'a' and 'b' under the identity"),
        ("rot90(abcd) rot180", "the maps do not fit together, as they make 'a' both 'a' and 'c' under "),
        ("fliplr(ab) flipud rot180", "the maps do not fit together, as they make 'a' both"),
        ("relabel(ab) " * 400, "a text of at most 4096 characters"),
        (None, "a text of at most 4096 characters"),
    ],
)
def test_wrong_symmetries_are_named(symmetries, expected):
    assert refused(Grid, (3, 3), "abcdefg ", symmetries).startswith(f"symmetries: {expected}")


@pytest.mark.parametrize("item", ["dihedral", "rot90", "rot270(ab)", "transpose", "antitranspose"])
def test_maps_that_need_a_square(item):
    wanted = f"symmetries: '{item}' exchanges rows and columns, but the shape is 2 x 3; take rot180, fliplr or flipud"
    assert refused(Grid, (2, 3), "ab", item).startswith(wanted)


def test_characters_that_the_grammar_uses_can_be_named():
    description = Grid((1, 1), "() \\x", "relabel(\\(\\)\\ ) fliplr(\\\\x)")
    assert len(elements(description)) == 12


NESTED: list = []  # type: ignore[type-arg]
for _ in range(100_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shape": [0, 5]}, "key shape: 0 x 5 is out of range; each side is at least 1, cells are at most 40000"),
        ({"shape": [201, 200]}, "key shape: 201 x 200 is out of range"),
        ({"shape": [10**5000, 1]}, "key shape: a number of many digits x 1 is out of range"),
        ({"shape": [-1, -1]}, "key shape: -1 x -1 is out of range"),
        ({"shape": [True, 5]}, "key shape: a tuple is not two whole numbers"),
        ({"shape": [5.0, 5]}, "key shape: a tuple is not two whole numbers"),
        ({"shape": [5]}, "key shape: a tuple is not two whole numbers"),
        ({"shape": "55"}, "key shape: '55' is not two whole numbers"),
        ({"shape": NESTED}, "key shape: a tuple is not two whole numbers"),
        ({"shape": None}, "key shape: a NoneType is not two whole numbers"),
        ({"shape": {}}, "key shape: a dict is not two whole numbers"),
        ({"alphabet": ""}, "key alphabet: '' is not a text of at least one character"),
        ({"alphabet": ["a", "b"]}, "key alphabet: a list is not a text"),
        ({"alphabet": NESTED}, "key alphabet: a list is not a text"),
        ({"alphabet": 12}, "key alphabet: 12 is not a text"),
        (
            {"alphabet": "".join(map(chr, range(0x4E00, 0x4E00 + 256)))},
            "key alphabet: has 256 characters; use at most 255",
        ),
        ({"alphabet": "abca"}, "key alphabet: 'a' stands there twice"),
        ({"alphabet": "ab\n"}, "key alphabet: character 3, '\\n', cannot be printed"),
        ({"alphabet": "ab\ud800"}, "key alphabet: character 3, '\\ud800', cannot be printed"),
        ({"alphabet": "\u2028"}, "key alphabet: character 1, '\\u2028', cannot be printed"),
        ({"symmetries": NESTED}, "key symmetries: a text of at most 4096 characters is needed"),
        ({"symmetries": "fliplr(az)"}, "key symmetries: 'fliplr(az)' names 'z'"),
        ({"kind": "maze"}, "key kind: is 'maze', needed is 'grid'"),
        ({"kind": NESTED}, "key kind: is a list, needed is 'grid'"),
        ({"size": 3}, "key 'size' is unknown; known are kind, shape, alphabet, symmetries, units"),
        ({5: 3}, "key 5 is unknown"),
    ],
)
def test_wrong_descriptions_are_named(change, expected):
    good = {"kind": "grid", "shape": [5, 5], "alphabet": "abc", "symmetries": ""}
    assert refused(Grid.from_dict, {**good, **change}, "puzzle.json").startswith(f"puzzle.json: {expected}")


def test_descriptions_round_trip_through_json():
    for description in (Grid((5, 5), "<>^v123456789 ", ARROWS + " relabel(123456789)"), Grid((1, 2), "é")):
        assert Grid.from_dict(json.loads(json.dumps(description.to_dict()))) == description
        assert hash(Grid.from_dict(description.to_dict())) == hash(description)
    assert Grid.from_dict({"kind": "grid", "shape": [2, 3], "alphabet": "ab"}) == Grid((2, 3), "ab")
    for missing in ("kind", "shape", "alphabet"):
        about = {"kind": "grid", "shape": [2, 3], "alphabet": "ab"}
        del about[missing]
        assert refused(Grid.from_dict, about) == f"grid: key {missing}: is missing; add it"
    for other in (None, [], "grid", 5, NESTED):
        assert "is no description" in refused(Grid.from_dict, other)


def test_ways_to_one_map_may_differ_within_a_set() -> None:
    """Half a turn and half a turn make no turn, but rename a to c: any of them may be any other anyway."""
    assert "do not fit together" in refused(Grid, (2, 2), "abc", "rot180(abc)")
    grid = Grid((2, 2), "abc", "rot180(abc) relabel(abc)")

    assert len({row.tobytes() for row in grid.canonical([[1, 2, 3, 3], [2, 2, 1, 3], [1, 2, 1, 3]])}) == 2


ITEMS = [
    *declared._NAMES[1:],
    "relabel(ab)",
    "relabel(cd)",
    "fliplr(ab)",
    "rot90(abcd)",
    "rot180(ac bd)",
    "transpose(ab)",
]
GOOD_SYMMETRIES = ["", "dihedral", "fliplr(ab) flipud(cd)", "rot90(abcd)", "transpose(ab) relabel(ab) relabel(cd)"]
SYMMETRIES = (
    st.sampled_from(GOOD_SYMMETRIES)
    | st.lists(st.sampled_from(ITEMS), max_size=3).map(" ".join)
    | st.lists(st.sampled_from(ITEMS) | st.text(st.sampled_from("rotflipud9()\\ ab"), max_size=9), max_size=4).map(
        " ".join
    )
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
DESCRIPTION = st.fixed_dictionaries(
    {
        "kind": st.just("grid"),
        "shape": st.just([3, 3]) | st.lists(st.integers(1, 5), min_size=2, max_size=2),
        "alphabet": st.sampled_from(["abcd", "abcd ()\\"]),
        "symmetries": SYMMETRIES,
    }
)
CHANGE = st.dictionaries(
    st.sampled_from(["kind", "shape", "alphabet", "symmetries"]) | st.text(max_size=9), ANY_JSON, max_size=1
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.builds(lambda good, change: {**good, **change}, DESCRIPTION, st.just({}) | CHANGE) | ANY_JSON,
    st.text(st.sampled_from("abcd \n\r") | st.characters(), max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_any_description_is_right_or_a_data_error(about, text, seed):
    refusal = ""
    try:
        description = Grid.from_dict(about, "here")
    except DataError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("here: ")
        assert "\n" not in refusal
        return
    rng = np.random.default_rng(seed)
    assert Grid.from_dict(description.to_dict()) == description
    grids = rng.integers(0, description.vocab_size, (4, description.cells))
    drawn = description.draw(rng, 4)
    np.testing.assert_array_equal(description.canonical(drawn.apply(grids)), description.canonical(grids))
    np.testing.assert_array_equal(drawn.inverse().apply(drawn.apply(grids)), grids)
    check_text(description, text)
    check_text(description, description.render(grids[0] * 0 + 1))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(st.sampled_from("abcd \n\r") | st.characters(), max_size=20), st.integers(1, 4), st.integers(1, 4))
def test_any_text_is_a_grid_or_a_data_error(text, rows, columns):
    check_text(Grid((rows, columns), "abcd "), text)


def check_text(description: Grid, text: str) -> None:
    kept = text.replace("\r", "").replace("\n", "")
    refusal = ""
    try:
        tokens = description.parse(text)
    except DataError as error:
        refusal = str(error)
    assert (refusal == "") == (len(kept) == description.cells and set(kept) <= set(description.alphabet))
    assert "\n" not in refusal
    if not refusal:
        assert description.to_text(tokens) == kept
