"""Torch forms of the optics, for batches on a GPU; on a CPU they are the same code.

`sim.optics.multislice`, `imaging` and `camera` do the same for one frame in NumPy, from which data sets and sessions
are made. `tests/sim/optics/test_batched.py` holds both forms together.
"""
