"""3D Gaussians that are splatted into pictures: a rasteriser, its slow twin, and what pictures are compared by."""
