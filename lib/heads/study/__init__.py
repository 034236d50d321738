"""A study: its plan, its records, and what runs its notebooks. It knows nothing of heads."""
