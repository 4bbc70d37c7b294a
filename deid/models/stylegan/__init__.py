"""StyleGAN2: the generator whose latent space the mapper of Nitzan et al. 2020 reaches, and its discriminator."""
