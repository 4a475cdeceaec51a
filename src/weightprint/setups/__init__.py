"""What is drawn: set-ups, the spaces they are drawn from, and recipes of zoos."""

from weightprint.setups.everyday import EverydaySetup, EverydaySpace
from weightprint.setups.recipe import Recipe
from weightprint.setups.setup import (
    ACTIVATIONS,
    CLASSES,
    FIELDS,
    IMAGE_CHANNELS,
    IMAGE_FORMS,
    IMAGE_SIDE,
    INITIALIZATIONS,
    OPTIMIZERS,
    Setup,
    check_field,
)
from weightprint.setups.space import SPACES, Choice, Range, Space

__all__ = [
    "ACTIVATIONS",
    "CLASSES",
    "FIELDS",
    "IMAGE_CHANNELS",
    "IMAGE_FORMS",
    "IMAGE_SIDE",
    "INITIALIZATIONS",
    "OPTIMIZERS",
    "SPACES",
    "Choice",
    "EverydaySetup",
    "EverydaySpace",
    "Range",
    "Recipe",
    "Setup",
    "Space",
    "check_field",
]
