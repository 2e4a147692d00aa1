"""Retrieval: documents cut into chunks, found by words, by vectors, or by both."""
