"""The fast CPU path: compiled kernels, proven equal to the plain layers."""
