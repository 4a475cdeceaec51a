"""One run: architectures, networks, update rules, early stopping, the loop."""
