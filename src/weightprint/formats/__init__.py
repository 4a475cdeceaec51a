"""Other people's files, read into forms of ours. `checkpoints`: one file → named tensors."""

from weightprint.formats.checkpoints import open_checkpoint
from weightprint.formats.named_tensors import CanonicalTensor, Checkpoint, Graph, Layer, NamedTensor, Skipped

__all__ = ["CanonicalTensor", "Checkpoint", "Graph", "Layer", "NamedTensor", "Skipped", "open_checkpoint"]
