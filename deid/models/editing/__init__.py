"""Editing of faces in a generator's latent space by named attributes: Khodadadeh et al. 2022 and three baselines."""
