"""NPM and NPHM (Giebenhain et al., CVPR 2023): a space of heads, a space of expressions, and fitting both to points."""
