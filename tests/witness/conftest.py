"""The world of these tests."""

from tests.world_fixtures import template, world

__all__ = ["template", "world"]
