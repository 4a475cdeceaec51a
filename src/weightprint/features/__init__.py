"""Weights and their layout → a table of named numbers."""
