"""The space `everyday`: set-ups of the networks that people train."""

from weightprint.setups.everyday.setup import IMAGE_KINDS, OPTIMIZER_FAMILIES, EverydaySetup
from weightprint.setups.everyday.space import EverydaySpace

__all__ = ["IMAGE_KINDS", "OPTIMIZER_FAMILIES", "EverydaySetup", "EverydaySpace"]
