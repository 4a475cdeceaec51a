"""One checkpoint looked into: what can be seen in it without learning, and what meta-classifiers say of it."""
