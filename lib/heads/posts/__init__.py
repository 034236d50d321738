"""From results to posts: sentences, tables and figures."""
