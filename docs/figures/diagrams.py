"""Draws the block diagrams of docs/papers: `python docs/figures/diagrams.py` writes the SVG files."""

from pathlib import Path

from drawing import Drawing

_HERE = Path(__file__).parent


def pih() -> Drawing:
    """Two predictors at a low resolution, and the rendering at full size."""
    d = Drawing(660, 500, "PIH: curve net, shading net and rendering at full size")
    for name, x in (("composite", 110), ("background", 330), ("mask", 550)):
        d.box(name, (x, 30), (150, 36), name)
    d.note((650, 68), "small copies", "end")
    d.box("curve", (200, 115), (230, 44), "curve net", "net")
    d.box("shade", (460, 245), (230, 44), "shading net", "net")
    d.box("curves", (110, 185), (130, 60), "")
    for color, lift in (("#c0392b", 10.0), ("#2e8b57", 3.0), ("#2c6fbb", -6.0)):
        points = [
            (52 + 116 * i / 20, 208 - 46 * i / 20 - lift * 4 * i / 20 * (1 - i / 20))
            for i in range(21)
        ]
        d.polyline(points, color)
    d.note((110, 230), "three curves")
    d.box("middle", (280, 185), (140, 44), "intermediate\npicture")
    d.box("map", (460, 340), (92, 92), "")
    for row in range(8):
        for column in range(8):
            d.cell((416 + 11 * column, 296 + 11 * row), 11, 120 + 9 * column + 8 * row)
    d.note((525, 340), "shading map", "start")
    d.box("render", (200, 430), (250, 44), "render at full size", "op")
    d.box("result", (460, 430), (150, 44), "result")
    d.arrow("composite", "curve", sides="bt", via=[(110, 75), (200, 75)])
    d.arrow("background", "curve", sides="bt", via=[(330, 75), (200, 75)])
    d.arrow("mask", "curve", sides="bt", via=[(550, 75), (200, 75)])
    d.arrow("curve", "curves", sides="bt", via=[(200, 146), (110, 146)])
    d.arrow("curves", "middle")
    d.arrow("middle", "shade", sides="bl", via=[(280, 245)])
    d.arrow("mask", "shade", sides="br", via=[(550, 75), (610, 75), (610, 245)])
    d.arrow("shade", "map")
    d.arrow("curves", "render", sides="lt", via=[(25, 185), (25, 380), (200, 380)])
    d.arrow("map", "render", sides="bt", via=[(460, 402), (200, 402)])
    d.arrow("render", "result")
    d.note((200, 470), "curves, gain, mask: one pixel at a time")
    return d


def phnet() -> Drawing:
    """The U-shape with gated bottleneck and normalized skips."""
    d = Drawing(660, 520, "PHNet: encoder, gated bottleneck, decoder with patch normalization")
    d.box("composite", (110, 30), (150, 36), "composite")
    d.box("mask", (330, 30), (110, 36), "mask")
    d.box("result", (550, 30), (170, 36), "blended result")
    rows = ((105, "1/2"), (185, "1/4"), (265, "1/8"))
    for i, (y, size) in enumerate(rows):
        d.box(f"e{i}", (110, y), (150, 44), f"encoder, {size}", "net")
        d.box(f"d{i}", (550, y), (150, 44), f"decoder, {size}", "net")
    for i, y in ((0, 105), (1, 185)):
        d.box(f"pn{i}", (330, y), (190, 44), "patch normalization", "op")
        d.arrow(f"e{i}", f"pn{i}")
        d.arrow(f"pn{i}", f"d{i}")
    d.arrow("e2", "d2")
    d.note((330, 253), "plain skip")
    d.arrow("composite", "e0")
    d.arrow("e0", "e1")
    d.arrow("e1", "e2")
    d.arrow("mask", "pn0")
    d.arrow("d2", "d1")
    d.arrow("d1", "d0")
    d.arrow("d0", "result")
    d.box("gate", (330, 350), (230, 44), "channel and image gates", "net")
    d.arrow("e2", "gate", sides="bl", via=[(110, 350)])
    d.arrow("gate", "d2", sides="rb", via=[(550, 350)])
    d.box("pfe", (330, 440), (230, 44), "patch feature extractor", "net")
    d.arrow("pfe", "gate")
    d.arrow("composite", "pfe", sides="ll", via=[(18, 30), (18, 440)])
    d.arrow("mask", "pfe", sides="rr", via=[(452, 30), (452, 68), (646, 68), (646, 440)])
    d.note((330, 495), "means of background patches, weighted by what was learned")
    return d


def issam() -> Drawing:
    """The U-Net with attention in its finest decoder block."""
    d = Drawing(660, 430, "iSSAM: a U-Net with spatially separated attention and a blending gate")
    d.box("input", (110, 30), (190, 36), "composite + mask")
    d.box("result", (550, 30), (180, 36), "result")
    for i, (y, size) in enumerate(((150, "1"), (225, "1/2"), (300, "1/4"))):
        d.box(f"e{i}", (110, y), (170, 44), f"encoder {i}, {size}", "net")
        d.box(f"d{i}", (550, y), (170, 44), f"decoder {2 - i}, {size}", "net")
    d.box("att", (330, 150), (190, 44), "separated attention\n(with the mask)", "net")
    d.box("b", (330, 385), (190, 44), "encoder 3, 1/8", "net")
    d.box("gate", (550, 90), (180, 36), "gate a", "op")
    d.arrow("input", "e0")
    d.arrow("e0", "e1")
    d.arrow("e1", "e2")
    d.arrow("e2", "b", sides="bl", via=[(110, 385)])
    d.arrow("b", "d2", sides="rb", via=[(550, 385)])
    d.arrow("d2", "d1")
    d.arrow("d1", "d0")
    d.arrow("e0", "att")
    d.arrow("att", "d0")
    d.arrow("e1", "d1")
    d.arrow("e2", "d2")
    d.arrow("d0", "gate")
    d.arrow("gate", "result")
    d.arrow("input", "gate", sides="rl", via=[(260, 30), (260, 90)])
    d.note((345, 110), "a · composite + (1 − a) · colors")
    return d


def giftnet() -> Drawing:
    """iSSAM with guided modules, and the teacher."""
    d = Drawing(
        660, 560, "GiftNet: guided transformation on skips and outputs, relation distillation"
    )
    d.box("input", (110, 30), (190, 36), "composite + mask")
    d.box("result", (550, 30), (180, 36), "result")
    for i, (y, size) in enumerate(((105, "1"), (185, "1/2"), (265, "1/4"))):
        d.box(f"e{i}", (110, y), (150, 44), f"encoder, {size}", "net")
        d.box(f"g{i}", (315, y), (130, 44), "GIFT", "op")
        d.box(f"d{i}", (530, y), (220, 44), f"decoder, {size}, then GIFT", "net")
        d.arrow(f"e{i}", f"g{i}")
        d.arrow(f"g{i}", f"d{i}")
    d.arrow("input", "e0")
    d.arrow("e0", "e1")
    d.arrow("e1", "e2")
    d.box("b", (110, 350), (150, 44), "bottleneck, 1/8", "net")
    d.box("code", (315, 350), (130, 44), "global code", "data")
    d.arrow("e2", "b")
    d.arrow("b", "code")
    d.arrow("code", "g2", dashed=True)
    d.arrow("g2", "g1", dashed=True)
    d.arrow("g1", "g0", dashed=True)
    d.arrow("code", "d2", sides="rb", via=[(530, 350)], dashed=True)
    d.arrow("d2", "d1")
    d.arrow("d1", "d0")
    d.arrow("d0", "result", sides="tb", via=[(530, 70), (550, 70)])
    d.box("real", (110, 450), (190, 44), "real photograph\n+ mask")
    d.box("teacher", (330, 450), (170, 44), "teacher's encoder", "frozen")
    d.box("rel", (550, 450), (180, 44), "relation maps", "op")
    d.arrow("real", "teacher")
    d.arrow("teacher", "rel")
    d.arrow("g2", "rel", sides="bt", via=[(315, 308), (420, 308), (420, 395), (550, 395)])
    d.note(
        (330, 514),
        "dashed: the global code, which steers every module;\nstudent's maps on the composite should equal\nthe teacher's on the real photograph (in training only)",
    )
    return d


def gknet() -> Drawing:
    """Kernels predicted beside the decoder."""
    d = Drawing(660, 520, "GKNet: kernels predicted level by level filter the decoder's features")
    d.box("input", (110, 30), (190, 36), "composite + mask")
    d.box("result", (550, 30), (180, 36), "blended result")
    levels = ((115, 1, "1/2"), (205, 2, "1/4"), (295, 3, "1/8"))
    for y, level, size in levels:
        d.box(f"e{level}", (110, y), (150, 44), f"encoder, {size}", "net")
        d.box(f"k{level}", (330, y), (160, 44), f"kernels, level {level}", "net")
        d.box(f"d{level}", (550, y), (180, 44), "decoder, filtered", "net")
        d.arrow(f"e{level}", f"k{level}")
        d.arrow(f"k{level}", f"d{level}")
    d.arrow("input", "e1")
    d.arrow("e1", "e2")
    d.arrow("e2", "e3")
    d.box("b", (110, 390), (150, 44), "bottleneck, 1/16", "net")
    d.arrow("e3", "b")
    d.box("lre", (330, 390), (190, 44), "transformer (LRE)", "net")
    d.arrow("b", "lre")
    d.arrow("lre", "k3")
    d.arrow("k3", "k2")
    d.arrow("k2", "k1")
    d.arrow("b", "d3", sides="bb", via=[(110, 450), (550, 450)])
    d.arrow("d3", "d2")
    d.arrow("d2", "d1")
    d.arrow("d1", "result")
    d.note(
        (330, 485),
        "one 3×3 kernel for each position and channel;\nnot drawn: plain skips, and the finest level",
    )
    return d


def propih() -> Drawing:
    """Four stages, each from an encoder piece, and the exits."""
    d = Drawing(660, 520, "ProPIH: four stages from low-level to high-level style, with exits")
    d.box("input", (120, 30), (220, 36), "composite and painting")
    d.note((245, 30), "the mask enters every step", "start")
    for k in range(1, 5):
        y = 20 + 95 * k
        d.box(f"e{k}", (120, y), (140, 44), f"encoder {k}", "frozen")
        d.box(f"a{k}", (270, y), (110, 44), "masked\nAdaIN", "op")
        d.box(f"u{k}", (420, y), (120, 44), "enlarge" if k == 1 else "enlarge,\nfuse", "net")
        d.box(f"f{k}", (580, y), (130, 44), f"result {k}")
        d.arrow(f"e{k}", f"a{k}")
        d.arrow(f"a{k}", f"u{k}")
        d.arrow(f"u{k}", f"f{k}")
        if k > 1:
            d.arrow(f"e{k - 1}", f"e{k}")
            d.arrow(f"u{k - 1}", f"u{k}")
            d.note((435, y - 47), "stop here?", "start")
    d.arrow("input", "e1")
    d.note(
        (330, 475),
        'low-level style above, high-level style below; no gradient\nflows from a stage to the one before. "Stop here?" is asked\nby a person or by the exit head',
    )
    return d


if __name__ == "__main__":
    for draw in (pih, phnet, issam, giftnet, gknet, propih):
        draw().save(_HERE, draw.__name__)
