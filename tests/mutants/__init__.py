"""Mutation testing of the core rooms: `make mutants`."""
