"""From pictures into a generator's latent space: the networks of Nitzan et al. 2020, and the encoders users hold."""
