"""The few things that can go wrong with what a user brings. Each message names the file and the remedy."""

from __future__ import annotations


class FastFlowError(Exception):
    """Base class, to catch all of them at once."""


class DataError(FastFlowError, ValueError):
    """A data set, an image, a mask or a feature map cannot be used."""


class WeightsError(FastFlowError, ValueError):
    """Weights cannot be found, read or fitted to the network."""


class CheckpointError(FastFlowError, ValueError):
    """A saved model or a training checkpoint is damaged or belongs to another run."""


class ParameterError(FastFlowError, ValueError):
    """A parameter of a notebook has a value that it cannot have. The message has name, value and choices."""
