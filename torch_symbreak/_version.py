"""The version, in one place: setup.cfg and ``torch_symbreak.__version__`` read it from here."""

__version__ = "0.2.0"
