"""The morphable engine: a statistical 3-D face model, fitted to every face and rendered with another identity."""
