"""Levqor for Python."""

from levqor._native import parse_credits, version

__all__ = ["parse_credits", "version"]
