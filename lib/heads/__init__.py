"""Few-shot 3D reconstruction of human heads: photographs with cameras and masks in, a head in millimetres out."""
