"""Fast forms of parts of networks, each the twin of a plain definition: Triton kernels (`fused_`), else for a CPU."""
