"""How the shipped model was made: data, VAE, UNet, export, evaluation; one flat script a stage."""
