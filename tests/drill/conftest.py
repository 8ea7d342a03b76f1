"""The world's own fixtures, for a drill on real homes."""

from tests.world_fixtures import template, world

__all__ = ["template", "world"]
