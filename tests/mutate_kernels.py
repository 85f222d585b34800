"""Breaks the kernels on purpose, one way at a time, and tells which test notices.

    python tests/mutate_kernels.py [--only TEXT] [--out FILE]

Each mutation replaces one piece of text in a copy of the repository and runs the operation's tests
there until one fails. Exit status 1 if a mutation survives, or if its text is gone: then the list
below needs an update. The last result is in docs/kernels.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CURVES, FILTER, REGIONS = "apply_curves", "dynamic_filter", "regions"
PATCHES, MOMENTS, ADAIN = "patch_norm", "masked_moments", "masked_adain"
# A word in the names of a lowering's files -> the word in its tests' names.
LOWERINGS = {"tpu": "tpu", "triton": "cuda"}
# Folders of `jaxharm/ops` without tests of their own -> the operations made of them.
TESTED_BY = {REGIONS: (PATCHES, MOMENTS, ADAIN)}


@dataclass(frozen=True)
class Mutation:
    """Text to replace in a file of a folder of `jaxharm/ops`."""

    what: str
    op: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "TPU: rise of the interval before", CURVES, "pallas_tpu.py",
        "curves[channel, k + 1] - here", "here - curves[channel, k - 1]",
    ),
    Mutation(
        "TPU: missing mask, what lies beyond the image is summed", CURVES, "pallas_tpu.py",
        "g.append(jnp.where(inside, g_c, 0.0))", "g.append(g_c)",
    ),
    Mutation(
        "TPU: off-by-one border, the last row is not summed", CURVES, "pallas_tpu.py",
        "(row < size[0])", "(row < size[0] - 1)",
    ),
    Mutation(
        "TPU: unaccumulated rows of a block", CURVES, "pallas_tpu.py",
        "held[c, k] += folded", "held[c, k] = folded",
    ),
    Mutation(
        "TPU: unaccumulated columns of blocks", CURVES, "pallas_tpu.py",
        "jnp.sum(sums, 1)", "sums[:, 0]",
    ),
    Mutation(
        "TPU: every block starts its sums anew", CURVES, "pallas_tpu.py",
        "@pl.when(pl.program_id(2) == 0)", "@pl.when(pl.program_id(2) >= 0)",
    ),
    Mutation(
        "TPU: the last knot that the pixels need is left out", CURVES, "pallas_tpu.py",
        "astype(jnp.int32) + 2, 0", "astype(jnp.int32) + 1, 0",
    ),
    Mutation(
        "TPU: sums start from what the memory held", CURVES, "pallas_tpu.py",
        "held[...] = jnp.zeros(held.shape, held.dtype)", "assert held.shape",
    ),
    Mutation(
        "both: wrong knot, the hat stands one further", CURVES, "body.py",
        "jnp.abs(t - knot)", "jnp.abs(t - knot - 1)",
    ),
    Mutation(
        "both: slope on the first knot", CURVES, "body.py", "(t > 0)", "(t >= 0)",
    ),
    Mutation(
        "both: a soft mask attenuates once", CURVES, "body.py",
        "result * s * m + (1 - m) * bg", "result * s + (1 - m) * bg",
    ),
    Mutation(
        "both: gradient of the mask without the inner blend", CURVES, "body.py",
        "g * (blended * s - bg) + inner * (curved - bg)", "g * (blended * s - bg)",
    ),
    Mutation(
        "GPU: mask of the neighboring pixel", CURVES, "pallas_triton.py",
        "pixel, inside = at // 3,", "pixel, inside = (at + 1) // 3,",
    ),
    Mutation(
        "GPU: missing mask, ones beyond the image", CURVES, "pallas_triton.py",
        "mask=inside, other=0.0", "mask=inside, other=1.0",
    ),
    Mutation(
        "GPU: wrong channel's curve", CURVES, "pallas_triton.py",
        "curves, image, at % 3)", "curves, image, at // numbers)",
    ),
    Mutation(
        "GPU: knots beyond the first table are not written", CURVES, "pallas_triton.py",
        "(index % tables) * _KNOTS + knot", "knot",
    ),
    Mutation(
        "GPU: unaccumulated blocks", CURVES, "pallas_triton.py",
        "jnp.sum(sums, 1)[", "sums[:, 0][",
    ),
    Mutation(
        "GPU: unaccumulated tiles", CURVES, "pallas_triton.py",
        "return before + g * hat", "return g * hat",
    ),
    Mutation(
        "GPU: bfloat16 arithmetic", CURVES, "pallas_triton.py",
        "mask=inside, other=0.0).astype(jnp.float32)", "mask=inside, other=0.0)",
    ),
    Mutation(
        "TPU: windows of rows off by one", FILTER, "pallas_tpu.py",
        "(n, r * rows, 0,", "(n, r * (rows - 1), 0,",
    ),
    Mutation(
        "TPU: rows of the block before are not carried over", FILTER, "pallas_tpu.py",
        "held[row] = held[row + rows]", "held[row] = jnp.zeros_like(held[row])",
    ),
    Mutation(
        "TPU: missing mask, rows beyond the image", FILTER, "pallas_tpu.py",
        "jnp.where(inside, g * taps[row, tap].astype(jnp.float32), 0.0)",
        "g * taps[row, tap].astype(jnp.float32)",
    ),
    Mutation(
        "both: kernel transposed", FILTER, "border.py",
        "yield u * self.side + v,", "yield v * self.side + u,",
    ),
    Mutation(
        "both: mirrored gradient off by one", FILTER, "border.py",
        "axis, size - 1 - self.reach, size", "axis, size - self.reach, size",
    ),
    Mutation(
        "GPU: mirror repeats the border", FILTER, "pallas_triton.py",
        "2 * (size - 1) - index", "2 * size - 1 - index",
    ),
    Mutation(
        "GPU: off-by-one border below", FILTER, "pallas_triton.py",
        "(row < image.height) & (column >= 0)", "(row <= image.height) & (column >= 0)",
    ),
    Mutation(
        "GPU: groups interleaved", FILTER, "pallas_triton.py",
        "channel // (self.channels // self.groups)", "channel % self.groups",
    ),
    Mutation(
        "GPU: gradient of the image from unflipped taps", FILTER, "pallas_triton.py",
        "border.reach - down", "down - border.reach",
    ),
    Mutation(
        "both: missing mask, the background's map everywhere", REGIONS, "body.py",
        "bg.map(x, fma) * (1 - mask)", "bg.map(x, fma)",
    ),
    Mutation(
        "both: gradient of the mask without the background's moments", REGIONS, "body.py",
        "fma(-bg_dev, bg_term, fma(g, maps, fg_dev * fg_term))", "fma(g, maps, fg_dev * fg_term)",
    ),
    Mutation(
        "both: gradient through the deviation with the mask once", REGIONS, "body.py",
        "fma(fg.square * fg_dev, mask, fg.mean)", "fg.square * fg_dev + fg.mean",
    ),
    Mutation(
        "both: parts joined without the distance of their means", REGIONS, "sums.py",
        "parts.square + (parts.cross + cross) * offset", "parts.square",
    ),
    Mutation(
        "both: means of parts not centered before they are added", REGIONS, "sums.py",
        "rough + (rest - eps * rough) / weight", "rough",
    ),
    Mutation(
        "both: a soft mask's cross is not passed on", REGIONS, "sums.py",
        "d_mean - square * found.cross", "d_mean",
    ),
    Mutation(
        "TPU: off-by-one patch border, rows", REGIONS, "tpu_tiles.py",
        "start = xp.maximum(row * side, top)", "start = xp.maximum(row * side + 1, top)",
    ),
    Mutation(
        "TPU: off-by-one patch border, columns", REGIONS, "tpu_sums.py",
        "place = (region, *layout.columns(*edges[patch : patch + 2]))",
        "place = (region, *layout.columns(edges[patch], edges[patch + 1] - 1))",
    ),
    Mutation(
        "TPU: the last patch without the rows that are left over", REGIONS, "tpu_tiles.py",
        "xp.where(row >= self.grid - 1, self.height, (row + 1) * side)", "(row + 1) * side",
    ),
    Mutation(
        "TPU: missing mask, what lies beyond the image is summed", REGIONS, "tpu_sums.py",
        "jnp.where(inside, tile(x, row, group), 0.0)", "tile(x, row, group)",
    ),
    Mutation(
        "TPU: unaccumulated rows of a block", REGIONS, "tpu_sums.py",
        "acc[index, group, :] += value", "acc[index, group, :] = value",
    ),
    Mutation(
        "TPU: sums start from what the memory held", REGIONS, "tpu_sums.py",
        "acc[index] = jnp.zeros(layout.tile, jnp.float32)", "assert acc.shape",
    ),
    Mutation(
        "TPU: sums around zero, E[x^2] - E[x]^2", REGIONS, "tpu_sums.py",
        "patch_sum(region, patch) * scale(region * grid + patch)",
        "patch_sum(region, patch) * 0",
    ),
    Mutation(
        "TPU: unaccumulated rows of upstream sums", REGIONS, "pallas_tpu.py",
        "acc[index, group, :] += value", "acc[index, group, :] = value",
    ),
    Mutation(
        "TPU: unaccumulated blocks of upstream sums", REGIONS, "pallas_tpu.py",
        "layout.vectors(jnp.sum(out, 1))", "layout.vectors(out[:, 0])",
    ),
    Mutation(
        "TPU: missing mask, upstream beyond the image is summed", REGIONS, "pallas_tpu.py",
        "jnp.where(inside, tile(grad, row, group), 0.0)", "tile(grad, row, group)",
    ),
    Mutation(
        "TPU: patch of the block's first row", REGIONS, "pallas_tpu.py",
        "(top + row) // side", "row // side",
    ),
    Mutation(
        "TPU: unaccumulated channels towards the mask", REGIONS, "pallas_tpu.py",
        "jnp.sum(partials, 1)", "partials[:, 0]",
    ),
    Mutation(
        "GPU: off-by-one patch border", REGIONS, "triton_tiles.py",
        "return index * step, step +", "return index * step, step - 1 +",
    ),
    Mutation(
        "GPU: the last patch without what is left over", REGIONS, "triton_tiles.py",
        "step + (index + 1) // grid * remainder", "step",
    ),
    Mutation(
        "GPU: missing mask, pixels beyond the patch", REGIONS, "triton_tiles.py",
        "exists = at < tall * wide", "exists = at >= 0",
    ),
    Mutation(
        "GPU: missing mask, the background beyond the patch", REGIONS, "triton_tiles.py",
        "self.exists.astype(jnp.float32)[:, None] - mask", "1.0 - mask",
    ),
    Mutation(
        "GPU: patch of another strip", REGIONS, "triton_tiles.py",
        "_row(vectors, pl.program_id(1) // plan.strips, plan)",
        "_row(vectors, pl.program_id(1), plan)",
    ),
    Mutation(
        "GPU: unaccumulated tiles", REGIONS, "pallas_triton.py",
        "_join(held, _group_sums(values, weights[region], fma), fma)",
        "_group_sums(values, weights[region], fma)",
    ),
    Mutation(
        "GPU: tiles joined without the distance of their means", REGIONS, "pallas_triton.py",
        "fma(part.cross + cross, offset, part.square)", "part.square",
    ),
    Mutation(
        "GPU: threads' parts joined around another center", REGIONS, "pallas_triton.py",
        "in _moved(part, center[None, :], fma)", "in _moved(part, part.center, fma)",
    ),
    Mutation(
        "GPU: sums around zero, E[x^2] - E[x]^2", REGIONS, "pallas_triton.py",
        "center = total * jnp.where(", "center = 0 * total * jnp.where(",
    ),
    Mutation(
        "GPU: unaccumulated tiles of upstream sums", REGIONS, "pallas_triton.py",
        "found += [total + weighted,", "found += [weighted,",
    ),
    Mutation(
        "GPU: unaccumulated strips", REGIONS, "pallas_triton.py",
        'jnp.sum(call(kernel, "gradient_sums", plan, arrays, out, interpret)[0], 1)',
        'call(kernel, "gradient_sums", plan, arrays, out, interpret)[0][:, 0]',
    ),
    Mutation(
        "both: a mean of a patch divided by nothing", PATCHES, "kernels.py",
        "d_stats.patch_mean / found.patch_weight", "d_stats.patch_mean",
    ),
    Mutation(
        "both: the mask's share in the means of patches", PATCHES, "kernels.py",
        "patches.spread(constant, *x.shape[1:3])",
        "patches.spread(jnp.zeros_like(constant), *x.shape[1:3])",
    ),
    Mutation(
        "both: the mask's share in the deviation", MOMENTS, "kernels.py",
        "(d_mask + constant)", "d_mask",
    ),
    Mutation(
        "both: the style mask's share in its deviation", ADAIN, "kernels.py",
        "(d_style_mask + style_constant)", "d_style_mask",
    ),
)  # fmt: skip


def caught_by(mutation: Mutation, root: Path) -> str | None:
    """The first test that fails in the mutated copy at `root`, or None."""
    file = root / "jaxharm" / "ops" / mutation.op / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.what}: {mutation.old!r} is not once in {file.name}")
    file.write_text(text.replace(mutation.old, mutation.new))
    try:
        operations = TESTED_BY.get(mutation.op, (mutation.op,))
        tests = [f"tests/ops/test_{operation}_kernels.py" for operation in operations]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        # A lowering's own file can only disturb its own tests.
        command += next(
            (["-k", LOWERINGS[word]] for word in LOWERINGS if word in mutation.file), []
        )
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, env=environment
        )
    finally:
        file.write_text(text)
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0].split("::")[-1].split(" - ")[0] if lines else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutations whose operation or text has this")
    parser.add_argument("--out", type=Path, help="file for the table")
    arguments = parser.parse_args()
    rows, survived = ["| operation | mutation | caught by |", "|---|---|---|"], 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copy(ROOT / "pyproject.toml", root)
        for part in ("jaxharm", "tests", "data_pipelines"):
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        for mutation in MUTATIONS:
            if arguments.only not in f"{mutation.op} {mutation.file} {mutation.what}":
                continue
            test = caught_by(mutation, root)
            survived += test is None
            rows.append(f"| {mutation.op} | {mutation.what} | {test or '**survived**'} |")
            print(rows[-1], flush=True)
            if arguments.out:
                arguments.out.write_text("\n".join(rows) + "\n")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
