"""One look for all figures: the same color for the same targets on every page, told apart by color-blind readers."""

from __future__ import annotations

#: Colors of targets, by Okabe and Ito: raw or scrambled ("none"), Algorithm 2 read literally, the exact rule, a
#: template, and losses over the orbit. Partial rules have the remaining colors.
COLORS: dict[str, str] = {
    "none": "#D55E00",
    "literal": "#CC79A7",
    "exact": "#0072B2",
    "template": "#009E73",
    "orbit-loss": "#E69F00",
    "template-orbit": "#56B4E9",
    "translation-only": "#8C6D31",
    "flip-only": "#B8A400",
    "phase-only": "#404040",
}
#: Color of whatever stands for no choice of targets: a truth, a constant predictor, a threshold.
NEUTRAL = "#808080"
#: Colors of symmetries, by Tol, by the names that margins have.
SYMMETRIES: dict[str, str] = {
    "translation": "#882255",
    "conjugate_flip": "#44AA99",
    "global_phase": "#DDAA33",
    "sign": "#DDAA33",
}
