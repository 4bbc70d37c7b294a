"""Training in-house: faces to learn from, and the loops that learn. Nothing here runs when videos are de-identified."""
