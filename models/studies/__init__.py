"""Comparisons from which the shipped models were chosen; each is a command and a page of the documents."""
