"""What makes a head of photographs, and the priors that it may start from. No method can reach the truth."""
