"""What is trained on: data sets as arrays of bytes, their parts and balance, augmentation."""

from weightprint.images.sets import (
    ImageSet,
    TrainingImages,
    available,
    epoch_indices,
    epoch_size,
    largest_test_size,
    largest_train_size,
    load,
    prepare,
    refuse_absent_sets,
    refuse_large_batch,
)

__all__ = [
    "ImageSet",
    "TrainingImages",
    "available",
    "epoch_indices",
    "epoch_size",
    "largest_test_size",
    "largest_train_size",
    "load",
    "prepare",
    "refuse_absent_sets",
    "refuse_large_batch",
]
