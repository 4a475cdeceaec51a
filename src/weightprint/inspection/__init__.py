"""One checkpoint → a verdict with its evidence; the shipped meta-classifier lies here."""
