"""Fast forms of parts of networks, each the twin of a plain definition: strips on a CPU, Triton kernels on a GPU."""
