"""Measurements of segpipe beside other libraries. Run from a checkout; not installed."""
