"""Transform samples before a network learns from them, by functions (Sample, rng) → Sample."""
