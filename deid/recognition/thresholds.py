"""Distances between recognition codes of dlib's network that mean something."""

SAME_PERSON = 0.6
"""dlib's own threshold: pairs of pictures nearer than this are taken for one person (99.4 % right on LFW)."""

FAR_1E3 = 0.545
"""One pair of strangers in a thousand lies nearer than this: benchmarks/calibrate_recogniser.py, 529 portraits of
adults in office, mostly men over 35, which is harder than LFW's mix. At 0.6 it is six in a thousand."""

STRANGERS = 0.82
"""Half of all pairs of strangers lie farther apart than this: the same portraits."""
