"""One run of the space `everyday`: its network and a plain loop."""
