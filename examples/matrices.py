"""Measure how the error of nearest neighbors depends on the matrix A of y = |A x|²: python examples/matrices.py"""

import statistics

from sklearn.neighbors import KNeighborsRegressor
from torch import Generator, from_numpy

from torch_symbreak import GaussianIntensity, relative_error
from torch_symbreak.datasets import GaussianPairs


def main(samples: tuple[int, ...] = (20_000, 50_000, 100_000), matrices: int = 10, tests: int = 2000) -> list[float]:
    means = []
    for breaking in ("none", "exact"):
        for n in samples:
            errors = []
            for seed in range(matrices):
                model = GaussianIntensity.draw(20, 5, generator=Generator().manual_seed(seed))
                fix = model.canonicalizer() if breaking == "exact" else None
                (y, x), (y_test, x_test) = (
                    GaussianPairs(count, model, seed=part).batch(range(count)) for part, count in ((0, n), (1, tests))
                )
                neighbors = KNeighborsRegressor(5).fit(y.sqrt(), x if fix is None else fix(x))
                found = from_numpy(neighbors.predict(y_test.sqrt()))
                errors.append(100 * float(relative_error(found.to(x.dtype), x_test, model.symmetries)))
            means.append(statistics.mean(errors))
            spread = statistics.stdev(errors) if matrices > 1 else 0.0
            print(f"{breaking:6} n = {n:7}: {means[-1]:5.1f} ± {spread:.1f} %   {sorted(round(e, 1) for e in errors)}")
    return means


if __name__ == "__main__":
    main()
