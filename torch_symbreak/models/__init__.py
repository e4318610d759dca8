"""Networks: plain modules, their sizes as parameters."""

from torch_symbreak.models.mlp import MLP
from torch_symbreak.models.sisprnet import SiSPRNet
from torch_symbreak.models.unet import UNet

__all__ = ["MLP", "SiSPRNet", "UNet"]
