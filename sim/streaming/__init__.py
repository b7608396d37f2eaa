"""Training examples as a stream: specimens drawn by processes, imaged anew on the device for every example.

`specimens` is what a process draws, `processes` are the processes, `waves` keeps exit waves on the device, `images`
takes images of them, and `stream` is the source of examples that a training learns from.
"""
