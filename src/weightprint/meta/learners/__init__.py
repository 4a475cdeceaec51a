"""Learners: each fits a table, says probabilities or values, and knows its own file."""
