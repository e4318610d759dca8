"""The cases of an experiment, and grids of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass

#: The predictor that every grid includes: the mean of the training targets.
CONSTANT = "constant"
#: Targets nearest to a template that is fitted to the training targets.
TEMPLATE = "template"
#: Raw targets with ``OrbitMinLoss`` as training and validation loss.
ORBIT_LOSS = "orbit-loss"
#: Template targets, then the orbit-min loss, then targets aligned to the network's own answers.
TEMPLATE_ORBIT = "template-orbit"
#: Ways to make targets that every experiment knows.
BREAKINGS = ("none", "exact", TEMPLATE, ORBIT_LOSS, TEMPLATE_ORBIT)


@dataclass(frozen=True)
class Case:
    """Identify one row by its data, its predictor, the breaking of its targets, the number of pairs, and the seed.

    Example:
        >>> case = Case("crystals", "unet", "exact", 500, 0)
        >>> str(case), case.slug
        ('crystals, unet, exact, n = 500, seed 0', 'crystals_unet_exact_500_0')
    """

    data: str
    network: str
    breaking: str
    n: int
    seed: int

    def __str__(self) -> str:
        return f"{self.data}, {self.network}, {self.breaking}, n = {self.n}, seed {self.seed}"

    @property
    def slug(self) -> str:
        """Return the name of the files of this case, without suffix."""
        return "_".join(str(value) for value in asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Combine the values of some axes into cases.

    Args:
        data: Names of data, as the experiment knows them.
        networks: Names of predictors. The constant predictor is always added.
        breaking: Ways to make targets: "none", "exact", ...
        samples: Numbers of pairs n, validation included.
        repeats: Number of seeds: ``seed``, ``seed + 1``, ... Default 1.
        seed: First seed of the training data, the scrambling, the weights and the order. Default 0.

    Raises:
        ValueError: If an axis is empty or a number is out of range.

    Example:
        >>> grid = Grid(data=("crystals",), networks=("unet",), breaking=("none", "exact"), samples=(500,))
        >>> [str(case) for case in grid.cases()][:2]
        ['crystals, constant, none, n = 500, seed 0', 'crystals, unet, none, n = 500, seed 0']
    """

    data: tuple[str, ...]
    networks: tuple[str, ...]
    breaking: tuple[str, ...]
    samples: tuple[int, ...]
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("data", "networks", "breaking", "samples"):
            if not getattr(self, name):
                raise ValueError(f"{name} needs at least one value, but got none.")
        for name, value, least in (("samples", min(self.samples), 20), ("repeats", self.repeats, 1)):
            if value < least:
                raise ValueError(f"{name} needs to be at least {least}, but got {value}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed needs to be in [0, 2^31), but got {self.seed}.")

    def cases(self) -> Iterator[Case]:
        """Yield the cases. Those that share their pairs are neighbors, so that a run makes the pairs once."""
        networks = dict.fromkeys((CONSTANT, *self.networks))
        seeds = range(self.seed, self.seed + self.repeats)
        for data, n, seed, breaking, network in itertools.product(
            self.data, self.samples, seeds, self.breaking, networks
        ):
            yield Case(data, network, breaking, n, seed)
