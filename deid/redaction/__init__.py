"""Obscuring faces: where (``shape``, from tracks) and how (``obscure``, on a frame's planes)."""
