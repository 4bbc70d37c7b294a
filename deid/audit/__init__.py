"""Measures of what a run did to faces: identity, expression, pose, steadiness, looks.

Pure functions of landmarks, chips and recognition codes, with no opinion about how a face was made, so that a run can
check itself and a benchmark can judge it by the same numbers.

* :mod:`deid.audit.attributes`: expression, gaze, pose and jitter from MediaPipe's mesh.
* :mod:`deid.audit.identity`: match rates between recognition codes.
* :mod:`deid.audit.appearance`: replaced, obscured or untouched; colour, seams, flicker, softness.
"""
