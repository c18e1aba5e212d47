"""Figures: whole processes, as ratios against a baseline measured in the same run."""
