"""Runs on disk: layout, run file, index, splits, locks. docs/format.md is the specification."""

from weightprint.zoo.zoo import LOG_FILE, ZOO_FILE, Run, Zoo, in_test_part, run_range, write_run

__all__ = ["LOG_FILE", "ZOO_FILE", "Run", "Zoo", "in_test_part", "run_range", "write_run"]
