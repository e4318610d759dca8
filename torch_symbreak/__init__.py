"""Symmetry breaking for end-to-end learning in nonlinear inverse problems.

Put a canonicalizer on the training targets, and every orbit has exactly one target (off a set of ties):

>>> import torch
>>> from torch_symbreak import FarField
>>> model = FarField(2)
>>> fix = model.canonicalizer()  # translation, conjugate flip and global phase
>>> x = torch.randn(8, 16, 16, dtype=torch.complex64)
>>> torch.allclose(fix(1j * x), fix(x), atol=1e-5)
True

``__all__`` lists the names of daily use. All others are in the subpackages: ``datasets``, ``metrics``, ``symmetries``,
``canonical``, ``testing``, ``diagnostics``, ``plots``, ``models``, ``interop``, ``io``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch_symbreak._version import __version__ as __version__

if TYPE_CHECKING:
    from torch_symbreak._names import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        """Load the library with the first name that is used: the command answers Ctrl-C before torch is imported."""
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        names = import_module("torch_symbreak._names")
        globals().update({each: getattr(names, each) for each in ("__all__", *names.__all__)})
        if name not in globals():  # nor a subpackage, which the import has put there
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__() -> list[str]:
        """List the names of daily use, too, before any was used."""
        return sorted({*globals(), *__getattr__("__all__")})
