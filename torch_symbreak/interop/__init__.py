"""Bridges to other libraries, each imported in its own module only: ``torch_symbreak.interop.torchmetrics``."""
