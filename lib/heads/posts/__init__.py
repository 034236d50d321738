"""What is told of results: tables, sentences and figures."""
