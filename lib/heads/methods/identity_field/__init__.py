"""An identity field of Gaussians: a code becomes the Gaussians of a face on a template (Kato et al. 2024)."""
