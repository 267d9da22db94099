"""Figures of tests are drawn without a window."""

import matplotlib

matplotlib.use("Agg")
