"""Networks in files: this project's own format, and the ones users hold. No file runs code.

native.py      safetensors with a header that says what is inside: what `deid models convert` and training write
pickles.py     the restricted reader under everything that is pickled
rosinality.py  StyleGAN2 in the layout of the PyTorch implementation that encoders build upon
nvidia.py      StyleGAN2-ADA pickles
psp.py         pSp and e4e: an encoder and its generator
facenet.py     InceptionResnetV1 recognisers
files.py       what kind a file is, and the one way to open it
"""

from deid.models.checkpoints.bundle import Bundle, Network
from deid.models.checkpoints.files import open_checkpoint

__all__ = ["Bundle", "Network", "open_checkpoint"]
