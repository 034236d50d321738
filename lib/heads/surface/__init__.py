"""The implicit surface: its networks, where rays meet it, and how it is trained."""
