"""The command `export`: its kinds are in files of their own."""

from __future__ import annotations

from cyclopts import App

export_app = App(name="export", help="Write a zoo as others read it.", help_format="plaintext")
