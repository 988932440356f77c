"""From a prepared Graph to a Plan: steps and places, rounded constants, and how much rounding a layer may add."""
