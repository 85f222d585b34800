"""A ComfyUI node: composite and mask in, the harmonized picture out.

Copy or link this folder into ComfyUI's `custom_nodes/`, and `pip install jaxharm` where ComfyUI runs.
"""

import functools
import sys

import numpy as np


@functools.cache
def _model(checkpoint):
    """A model with its weights, loaded once."""
    import jaxharm

    return jaxharm.Harmonizer(checkpoint=checkpoint or None)


class JaxharmHarmonize:
    """Harmonizes each picture of a batch; without a checkpoint, by the weights that ship."""

    CATEGORY = "image/harmonization"
    FUNCTION = "harmonize"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)

    @classmethod
    def INPUT_TYPES(cls):
        """What the node takes, as ComfyUI reads it."""
        strength = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}
        return {
            "required": {"image": ("IMAGE",), "mask": ("MASK",), "strength": ("FLOAT", strength)},
            "optional": {"background": ("IMAGE",), "checkpoint": ("STRING", {"default": ""})},
        }

    def harmonize(self, image, mask, strength, background=None, checkpoint=""):
        """f32[b,h,w,3] in [0,1] and mask f32[b,h,w] (or of one picture) -> the same as `image`."""
        run = _model(checkpoint)
        images, masks = np.asarray(image, np.float32), np.asarray(mask, np.float32)
        masks = np.broadcast_to(masks, images.shape[:3])
        plates = [None] * len(images)
        if background is not None:
            plates = np.broadcast_to(np.asarray(background, np.float32), images.shape)
        results = [
            run(picture, weights, background=plate, strength=strength)
            for picture, weights, plate in zip(images, masks, plates, strict=True)
        ]
        result = np.stack(results)
        torch = sys.modules.get("torch")  # ComfyUI's pictures are its tensors
        if torch is not None and isinstance(image, torch.Tensor):
            return (torch.from_numpy(result),)
        return (result,)


NODE_CLASS_MAPPINGS = {"JaxharmHarmonize": JaxharmHarmonize}
NODE_DISPLAY_NAME_MAPPINGS = {"JaxharmHarmonize": "Harmonize (jaxharm)"}
