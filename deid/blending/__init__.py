"""Puts a rendered face into a frame: outline, silhouette, hair, what hides the face, seam."""
