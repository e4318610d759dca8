"""Networks: plain modules, their sizes as parameters."""

from torch_symbreak.models.unet import UNet

__all__ = ["UNet"]
