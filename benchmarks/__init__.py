"""Measure speed: every suite times operations beside their baselines in one run and reports medians and ratios."""
