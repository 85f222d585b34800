"""Reading compiled programs: collectives, kernels and cycles, from texts as compilers write them."""

from jaxharm.chips.program import Collective, read_program

TPU = """\
HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%x, %y)
}

%body (carry: (s32[], f32[8])) -> (s32[], f32[8]) {
  %carry = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %work = f32[8]{0:T(128)} fusion(%carry), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"10"}
  ROOT %next = (s32[]{:T(128)}, f32[8]{0:T(128)}) tuple(%work)
}

ENTRY %main (p: f32[64]) -> f32[64] {
  %p = f32[64]{0:T(128)} parameter(0)
  %all-reduce.1 = (f32[64]{0:T(128)}, bf16[8,4]{1,0:T(8,128)(2,1)}, /*index=2*/f32[]{:T(128)}) all-reduce(%p, %p, %p), channel_id=1, to_apply=%add
  %start = f32[256]{0:T(128)} all-reduce-start(%p), channel_id=2, to_apply=%add
  %a = f32[64]{0:T(128)} fusion(%p), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"700"}
  %b = f32[64]{0:T(128)} custom-call(%p), custom_call_target="tpu_custom_call", metadata={op_name="jit(step)/PN/transpose(jvp(region_sums))/pallas_call" source_file="x.py"}, backend_config={"estimated_cycles":"300"}
  %done = f32[256]{0:T(128)} all-reduce-done(%start)
  %loop = (s32[]{:T(128)}, f32[8]{0:T(128)}) while(%t), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %r = f32[64]{0:T(128)} copy(%b), backend_config={"estimated_cycles":"1"}
}
"""


def test_collectives_are_counted_with_what_is_combined_and_what_overlaps():
    found = read_program(TPU).collectives
    assert found == (
        Collective("all-reduce", arrays=3, bytes=4 * 64 + 2 * 32 + 4, overlapped=None),
        Collective("all-reduce", arrays=1, bytes=1024, overlapped=2),
    )


def test_cycles_add_up_and_loops_count_every_trip():
    assert read_program(TPU).cycles == 700 + 300 + 1 + 5 * 10


def test_kernels_are_named():
    assert read_program(TPU).kernels == {"region_sums": 1}


def test_a_program_without_estimates_has_none():
    text = TPU.replace("estimated_cycles", "something_else")
    assert read_program(text).cycles is None
