"""Collectives read from compiled programs: kinds, bytes, and how often they run, against counts made by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks.hlo import Collective, collectives_in, collectives_of, table


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto, AxisType.Auto))


def compiled(mesh: Mesh, function, *shapes: tuple[int, ...]):
    """`function` of one device's arrays, whose first axes are the eighth part of those in `shapes`."""
    mapped = jax.shard_map(function, mesh=mesh, in_specs=P(("a", "b")), out_specs=P(("a", "b")), check_vma=False)
    return jax.jit(mapped).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).compile()


def figures(collectives: list[Collective]) -> list[tuple]:
    return sorted((c.kind, c.operands, c.group, c.payload, c.bytes, c.times) for c in collectives)


def ring(n: int) -> list[tuple[int, int]]:
    return [(i, (i + 1) % n) for i in range(n)]


def test_every_kind_once(mesh: Mesh) -> None:
    def each(x):  # f32[16,8] on a device, 512 bytes
        return (
            jax.lax.psum(x, ("a", "b")),
            jax.lax.psum(x, "a"),
            jax.lax.all_gather(x, "b", tiled=True),
            jax.lax.psum_scatter(x, "b", tiled=True),
            jax.lax.ppermute(x, "b", ring(4)),
            jax.lax.all_to_all(x, "b", 0, 0, tiled=True),
        )

    found = collectives_of(compiled(mesh, each, (128, 8)))

    assert figures(found) == [
        ("all-gather", "f32[16,8]", 4, 2048, 2048 * 3 // 4, 1),
        ("all-reduce", "f32[16,8]", 2, 512, 512, 1),
        ("all-reduce", "f32[16,8]", 8, 512, 2 * 512 * 7 // 8, 1),
        ("all-to-all", ", ".join(4 * ["f32[4,8]"]), 4, 512, 512 * 3 // 4, 1),
        ("collective-permute", "f32[16,8]", 8, 512, 512, 1),
        ("reduce-scatter", "f32[16,8]", 4, 512, 512 * 3 // 4, 1),
    ]
    assert {c.where for c in found if c.kind == "all-reduce"} == {"jit(each)/shard_map/psum"}


def test_loops_multiply(mesh: Mesh) -> None:
    def loops(x):
        def body(c, _):
            c = c + jax.lax.psum(c * c, "a")
            inner = lambda _, d: d + d * jax.lax.ppermute(d, "b", ring(4))  # noqa: E731
            return jax.lax.fori_loop(0, 3, inner, c), jax.lax.psum_scatter(c.sum(1), "b", tiled=True)

        return jax.lax.scan(body, jax.lax.all_gather(x, "a", tiled=True)[:16], length=5)

    assert figures(collectives_of(compiled(mesh, loops, (128, 8)))) == [
        ("all-gather", "f32[16,8]", 2, 1024, 512, 1),
        ("all-reduce", "f32[16,8]", 2, 512, 512, 5),
        ("collective-permute", "f32[16,8]", 8, 512, 512, 15),
        ("reduce-scatter", "f32[16]", 4, 64, 48, 5),
    ]


def test_a_loop_of_unknown_length_is_told_as_such(mesh: Mesh) -> None:
    def until(x):
        def longer(c):
            return jax.lax.fori_loop(0, 3, lambda _, d: d + jax.lax.psum(d * d, "b"), c)

        return jax.lax.while_loop(lambda c: c[0, 0] < 100, longer, x) + jax.lax.psum(x, "a")

    found = collectives_of(compiled(mesh, until, (128, 8)))

    assert figures([c for c in found if c.times is None]) == [("all-reduce", "f32[16,8]", 4, 512, 768, None)]
    assert [c.times for c in found if c.group == 2] == [1]
    lines = table(found).splitlines()
    assert "unknown" in next(line for line in lines if "   4  " in line)
    assert lines[-2:] == [
        "a device sends in all: 1 times, 512 B",
        "and what 1 of these 2 send, in loops of unknown length",
    ]


def test_a_condition_is_asked_once_more_than_the_loop_turns() -> None:
    text = """HloModule m, num_partitions=4
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  ROOT %p = (s32[], f32[4]{0}) parameter(0)
}
%condition (q: (s32[], f32[4])) -> pred[] {
  %q = (s32[], f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%q), index=1
  %r = f32[4]{0} all-reduce(%x), replica_groups={}, to_apply=%add
  ROOT %c = pred[] custom-call(%r), custom_call_target="(less"
}
ENTRY %main (s: (s32[], f32[4])) -> (s32[], f32[4]) {
  %s = (s32[], f32[4]{0}) parameter(0)
  ROOT %w = (s32[], f32[4]) while(%s), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"6"}}
}
"""
    assert figures(collectives_in(text)) == [("all-reduce", "f32[4]", 4, 16, 24, 7)]


def test_what_the_partitioner_inserts(mesh: Mesh) -> None:
    shardings = NamedSharding(mesh, P("a")), NamedSharding(mesh, P("b"))
    shapes = jax.ShapeDtypeStruct((64, 16), jnp.float32), jax.ShapeDtypeStruct((16, 16), jnp.float32)

    @partial(jax.jit, in_shardings=shardings)
    def step(x, w):
        return (x @ w).sum()

    assert figures(collectives_of(step.lower(*shapes).compile())) == [
        ("all-gather", "f32[4,16]", 4, 1024, 768, 1),
        ("all-reduce", "f32[]", 2, 4, 4, 1),
    ]


def test_a_program_without_any(mesh: Mesh) -> None:
    found = collectives_of(compiled(mesh, lambda x: jax.lax.fori_loop(0, 4, lambda _, c: c * c, x), (128, 8)))

    assert found == []
    assert table(found) == "no collectives"


@pytest.mark.parametrize(
    ("groups", "n"),
    [
        ("replica_groups={{0,1,2},{3}}", 3),
        ("replica_groups={}", 16),
        ("channel_id=1", 16),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", 2),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=1,'axis_2'=8] {'axis_2'}", 8),
        ("replica_groups=mesh['a'=2,'b'=8] {'a','b'}", 16),
        ("replica_groups=mesh['a'=2,'b'=8], device_ids=([8,2]T(1,0)) {'a','b':(2)4}", 8),
        ("replica_groups=mesh[a=2,b=8] {b:(1)2}", 2),
        ("replica_groups=mesh['a'=16] {}", 1),
    ],
)
def test_groups_in_every_form(groups: str, n: int) -> None:
    text = f"""HloModule m, is_scheduled=true, replica_count=2, num_partitions=8
ENTRY %main (p: f32[16]) -> f32[16] {{
  %p = f32[16]{{0}} parameter(0)
  ROOT %r = f32[16]{{0}} all-reduce(%p), {groups}, use_global_device_ids=true, to_apply=%add, metadata={{op_name="f"}}
}}
"""
    (found,) = collectives_in(text)

    assert (found.group, found.bytes) == (n, -(-2 * 64 * (n - 1) // n))


def test_groups_in_an_unknown_form_are_no_guess() -> None:
    text = "HloModule m\nENTRY %m (p: f32[2]) -> f32[2] {\n  %r = f32[2] all-reduce(%r), replica_groups=<new>\n}\n"
    with pytest.raises(ValueError, match="replica groups in an unknown form: '<new>"):
        collectives_in(text)


def test_started_and_done_count_once() -> None:
    """The forms of programs for GPUs and TPUs: layouts with tiles, starts as tuples, asynchronous computations."""
    text = """HloModule m, num_partitions=4, is_scheduled=true
%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}, execution_thread="main"
%wrapped (p: bf16[64,4]) -> bf16[16,4] {
  %p.1 = bf16[64,4]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %rs = bf16[16,4]{1,0} reduce-scatter(%p.1), replica_groups=[1,4]<=[4], dimensions={0}, to_apply=%add
}
%branch (b: f32[8]) -> f32[8] {
  %b = f32[8]{0} parameter(0)
  ROOT %cb = f32[8]{0} collective-broadcast(%b), replica_groups={{0,1},{2,3}}
}
%unused (u: f32[8]) -> f32[8] {
  %u = f32[8]{0} parameter(0)
  ROOT %r.9 = f32[8]{0} all-reduce(%u), replica_groups={}, to_apply=%add
}
ENTRY %main (p: bf16[64,4], q: f32[8], i: s32[]) -> (f32[8], /*index=1*/f32[8]) {
  %p = bf16[64,4]{1,0:T(8,128)(2,1)} parameter(0)
  %q = f32[8]{0:T(128)} parameter(1)
  %s = s4[7]{0:T(128)E(4)} parameter(2)
  %rs = ((bf16[64,4]{1,0}), bf16[16,4]{1,0}) async-start(%p), calls=%wrapped
  %rs.d = bf16[16,4]{1,0} async-done(%rs), calls=%wrapped
  %ar = f32[8]{0} all-reduce-start(f32[8]{0} %q), replica_groups={}, to_apply=%add, metadata={op_name="a(\\"b\\")/psum"}
  %ar.d = f32[8]{0} all-reduce-done(%ar)
  %ag = (f32[8]{0}, f32[32]{0}) all-gather-start(%q), replica_groups={{0,1,2,3}}, control-predecessors={%ar}
  %ag.d = f32[32]{0} all-gather-done(%ag)
  %cp = (s4[7]{0}, s4[7]{0}, u32[], u32[]) collective-permute-start(%s), source_target_pairs={{0,1},{1,0},{2,3}}
  %cp.d = s4[7]{0} collective-permute-done(%cp)
  %c = f32[8]{0} conditional(%q, %q, %q), branch_computations={%branch, %branch}
  ROOT %t = (f32[8]{0}, /*index=1*/f32[8]{0}) tuple(%c, /*index=1*/%ar.d)
}
"""
    found = collectives_in(text)

    assert figures(found) == [
        ("all-gather", "f32[8]", 4, 128, 96, 1),
        ("all-reduce", "f32[8]", 4, 32, 48, 1),
        ("collective-broadcast", "f32[8]", 2, 32, 32, 2),
        ("collective-permute", "s4[7]", 3, 4, 4, 1),
        ("reduce-scatter", "bf16[64,4]", 4, 512, 384, 1),
    ]
    assert next(c.where for c in found if c.kind == "all-reduce") == 'a(\\"b\\")/psum'


def test_the_table_for_people() -> None:
    many = ", ".join(["f32[4,8]", "f32[8]", *(40 * ["bf16[2]"])])
    collectives = [
        Collective("all-reduce", many, 8, 320, 560, 5, "jit(step)/psum"),
        Collective("all-gather", "f32[512,3072]", 4, 6_291_456, 4_718_592, 2000, 120 * "w"),
    ]

    assert table(collectives).splitlines() == [
        "collective            operands                      group    times      each    in all  from",
        "all-reduce            f32[4,8], f32[8] and 40 more      8        5     560 B    2.8 kB  jit(step)/psum",
        "all-gather            f32[512,3072]                     4    2,000   4.72 MB   9.44 GB  " + 97 * "w" + "...",
        "a device sends in all: 2,005 times, 9.44 GB",
    ]
