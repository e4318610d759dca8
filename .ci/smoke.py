"""Import every module of an installed torch_symbreak, and break the symmetries of a file: python smoke.py"""

import importlib
import importlib.metadata
import importlib.resources
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import torch_symbreak
from torch_symbreak import FarField, RandomSymmetry

root = Path(torch_symbreak.__file__).parent
assert root.parent.name == "site-packages", f"{root} is no installed package"
assert torch_symbreak.__version__ == importlib.metadata.version("torch_symbreak")
for name in ("py.typed", "diagnostics/report.html.jinja"):
    assert importlib.resources.files("torch_symbreak").joinpath(name).is_file(), f"{name} is missing"

needed = set()
for module in pkgutil.walk_packages([str(root)], "torch_symbreak.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # of an extra that is not installed
            if error.name is None or error.name.startswith("torch_symbreak"):
                raise
            needed.add(error.name)

model = FarField(2)
fix = model.canonicalizer()
x = torch.nn.functional.pad(torch.randn(5, 6, 8, dtype=torch.complex64), (2, 6, 5, 5))
assert torch.allclose(fix(RandomSymmetry(model.symmetries)(x)), fix(x), atol=1e-5)
with tempfile.TemporaryDirectory() as folder:
    np.save(f"{folder}/x.npy", x.numpy())
    symbreak = Path(sys.executable).with_name("symbreak")
    subprocess.run([symbreak, "break", f"{folder}/x.npy", f"{folder}/y.npy"], check=True)
    assert np.allclose(np.load(f"{folder}/y.npy"), fix(x).numpy(), atol=1e-5)
print(f"torch_symbreak {torch_symbreak.__version__} works with torch {torch.__version__}.")
print(f"Left out for want of extras: {', '.join(sorted(needed)) or 'nothing'}.")
