"""A recipe and a count → a zoo: plan, estimate, jobs; engines for local processes and a Ray cluster."""
