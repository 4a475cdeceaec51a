"""The small study that tests of its report look at."""

from tests.study.conftest import planted_path, studied

__all__ = ["planted_path", "studied"]
