"""Suggest the content threshold of noisy targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import check_dims, check_target
from torch_symbreak._content import profiles_of, squares_of

#: The threshold that every canonicalizer has by default. It clears round-off.
DEFAULT = 1e-4
#: Share of the variance between two classes that makes them two. Noise around crystals, digits and photographs gave
#: .84 and more up to 10 % of the peak, targets without a background at most .77. A uniform distribution has .75.
_TWO_CLASSES = 0.8
#: No background is brighter than this. Few lines fall into two classes by chance.
_MOST = 0.4
#: Deviations between the background's median and the threshold. Fewer let background count as content, and more cut
#: faint edges of the content off: over 24 noisy sets of benchmarks/thresholds.py, 3, 4 and 5 left targets a mean
#: distance of .134, .076 and .068 from the clean ones' (Li's threshold alone .083).
_CLEAR = 5
#: Standard deviation of normal numbers over their median absolute deviation.
_NORMAL = 1.4826


def suggest_threshold(x: Tensor, event_dims: int = 2, *, channel_dims: int = 0) -> float:
    """Suggest the fraction of the peak below which pixels count as background.

    A content box ends where the brightest pixel of a line (a row, say) exceeds the threshold. So the lines of all items
    along all axes are divided into background and content. Li's minimum cross-entropy threshold divides the logarithms
    of their brightest pixels, each relative to its item's peak. The suggestion lies five robust standard deviations
    above the median of the background, or at Li's threshold if that is lower. Single hot pixels hardly change it.

    The result is the canonicalizers' default, 1e-4, in two cases: at this threshold at least half of the items have
    lines without content, or no threshold up to .4 divides the lines into two classes. Needs scikit-image.

    Shape: (*batch, *channels, *event), real or complex, to one number. Some hundred items are enough.

    Args:
        x: Targets, as they are broken: with their noise.
        event_dims: Trailing dimensions of one target. Default 2.
        channel_dims: Dimensions before the event that share one box. Default 0.

    Returns:
        The threshold, for ``FarField.canonicalizer(threshold=)``, ``CenterContent(threshold=)`` and ``--threshold``.

    Raises:
        TypeError, ValueError: If ``x`` is no batch of targets, or dimensions are out of range.
        ModuleNotFoundError: If scikit-image is missing and needed.

    Example: a background of 1 % noise has brightest pixels around .03. The box is then the content's again.
        >>> import torch
        >>> from torch_symbreak import CenterContent
        >>> clean = torch.zeros(50, 16, 16)
        >>> clean[:, 2:9, 4:13] = 1
        >>> noisy = clean + 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        >>> threshold = suggest_threshold(noisy)
        >>> 0.04 < threshold < 0.3
        True
        >>> CenterContent(2, threshold=threshold).element(noisy).shift.unique(dim=0)
        tensor([[ 2, -1]])
        >>> CenterContent(2).element(clean).shift.unique(dim=0)
        tensor([[ 2, -1]])
        >>> suggest_threshold(clean)
        0.0001

    References: Li and Tam, Pattern Recognition Letters 19, 771 (1998).
    """
    check_dims("suggest_threshold", event_dims, channel_dims, least=1)
    check_target("suggest_threshold", x, event_dims, channel_dims, least=1)
    return threshold_of_lines(lines_of(x, event_dims, channel_dims))


def lines_of(x: Tensor, event_dims: int, channel_dims: int = 0) -> Tensor:
    """Return the brightest pixel of every line of every item, relative to its peak: (B, N_1 + ... + N_d)."""
    squares = squares_of(x, event_dims + channel_dims)
    lines = torch.cat(profiles_of(squares, event_dims, channel_dims), -1).double().sqrt()
    return lines.reshape(-1, lines.shape[-1])


def threshold_of_lines(lines: Tensor) -> float:
    """Return the suggestion for items of which :func:`lines_of` returned the lines."""
    threshold, clear = divide_lines(lines)
    return threshold if clear else DEFAULT


def divide_lines(lines: Tensor) -> tuple[float, bool]:
    """Return the threshold that divides the lines, and whether it is clear enough to be suggested."""
    if not len(lines) or (lines <= DEFAULT).any(-1).double().mean() >= 0.5:
        return DEFAULT, True
    logs = lines[lines > 0].log().cpu().numpy()
    if logs.min() == logs.max():
        return DEFAULT, False
    filters: Any = _filters()
    split = filters.threshold_li(logs)
    content = logs > split
    share = content.mean()
    gap = logs[content].mean() - logs[~content].mean()
    two = share * (1 - share) * gap**2 >= _TWO_CLASSES * logs.var()
    background = logs[~content]
    middle = float(np.median(background))
    deviation = _NORMAL * float(np.median(abs(background - middle)))
    clear = min(split, middle + _CLEAR * deviation) if deviation > 0 else split
    threshold = float(f"{math.exp(clear):.2g}")
    return threshold, bool(two) and threshold <= _MOST


def _filters() -> Any:
    try:
        from skimage import filters
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'suggest_threshold needs scikit-image: pip install "torch_symbreak[io]"', name=error.name
        ) from None
    return filters
