"""Speed, measured: a script interleaves an operation with its baselines in one run and reports medians and ratios."""
