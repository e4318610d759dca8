"""Bridges to other libraries, each imported in its own module only: kornia, deepinv, lightning, torchmetrics.

torchvision needs none: the transforms are its transforms.
"""
