"""Pixel2Mesh (Wang et al., ECCV 2018) and its variant for faces: a template is deformed to what one photograph shows."""
