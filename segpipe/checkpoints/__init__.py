"""Everybody's weights and settings: reading, translating and writing the files of other implementations."""
