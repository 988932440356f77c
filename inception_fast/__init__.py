"""Fast inference for the Inception family."""
