"""A round trip with GIMP or Krita: harmonizes the top layer of an OpenRaster file.

    python open_raster.py picture.ora harmonized.ora [--strength 0.8]

In the editor, put the object on a layer of its own above everything else, with transparency around it, and
export the picture as OpenRaster (.ora). The script adds a layer "harmonized" above the object's: open the
new file, compare the two by their eyes, and lower the opacity of the new one to taste.
"""

import argparse
import io
import zipfile
from xml.etree import ElementTree

import numpy as np
from PIL import Image

import jaxharm


def read_layers(archive):
    """The stack as XML, and each visible layer as u8[h,w,4] of the whole picture, the top one first."""
    stack = ElementTree.fromstring(archive.read("stack.xml"))
    size = int(stack.get("w")), int(stack.get("h"))
    layers = []
    for layer in stack.iter("layer"):
        if layer.get("visibility", "visible") == "visible":
            whole = Image.new("RGBA", size)
            picture = Image.open(io.BytesIO(archive.read(layer.get("src")))).convert("RGBA")
            whole.paste(picture, (int(layer.get("x", 0)), int(layer.get("y", 0))))
            layers.append(np.asarray(whole))
    return stack, layers


def merged(layers):
    """Layers one over the other, u8[h,w,3]; white where there is none."""
    result = Image.new("RGBA", layers[0].shape[1::-1], "white")
    for layer in reversed(layers):
        result = Image.alpha_composite(result, Image.fromarray(layer))
    return np.asarray(result.convert("RGB"))


def png(pixels):
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def main():
    """Reads the file, harmonizes the top layer, writes the other file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("out")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--checkpoint")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.file) as archive:
        stack, layers = read_layers(archive)
        others = {name: archive.read(name) for name in archive.namelist()}
    if len(layers) < 2:
        raise SystemExit("the picture needs two visible layers: the object, and what is behind it")
    result = jaxharm.harmonize(
        layers[0],
        background=merged(layers[1:]),
        strength=arguments.strength,
        checkpoint=arguments.checkpoint,
    )
    # The object's own transparency, so that the layer can be shown or hidden alone.
    made = np.concatenate([result, layers[0][..., 3:]], 2)
    new = ElementTree.Element("layer", name="harmonized", src="data/harmonized.png", x="0", y="0")
    stack.find("stack").insert(0, new)
    others["stack.xml"] = ElementTree.tostring(stack, "UTF-8", xml_declaration=True)
    others["data/harmonized.png"] = png(made)
    others["mergedimage.png"] = png(result)
    with zipfile.ZipFile(arguments.out, "w", zipfile.ZIP_DEFLATED) as archive:
        # Readers expect it first, as it is.
        archive.writestr("mimetype", "image/openraster", zipfile.ZIP_STORED)
        for name, content in others.items():
            if name != "mimetype":
                archive.writestr(name, content)


if __name__ == "__main__":
    main()
