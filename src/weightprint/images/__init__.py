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
    part_name,
    prepare,
    refuse_absent_sets,
    refuse_large_batch,
    refuse_other_form,
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
    "part_name",
    "prepare",
    "refuse_absent_sets",
    "refuse_large_batch",
    "refuse_other_form",
]
