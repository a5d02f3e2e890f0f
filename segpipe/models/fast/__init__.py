"""Faster forms of parts of networks: strips on a CPU, Triton kernels on a GPU; each is the twin of a plain definition."""
