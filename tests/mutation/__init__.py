"""A mutation run: the source is changed in one place, and a test should fail. ``make mutate``; see ``__main__``."""
