"""The tests. A package, so that none of this name elsewhere comes before it."""
