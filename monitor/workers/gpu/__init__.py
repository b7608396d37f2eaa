"""One process owns the GPU; workers hand it their frames through shared memory and get back what it saw."""
