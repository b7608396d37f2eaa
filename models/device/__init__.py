"""The chain in torch, for a GPU: from a frame's counts to a few numbers a particle. On a CPU it is the same code."""
