"""Pixels in, samples out: pictures, labels, data sets and what is done to them before a network sees them."""
