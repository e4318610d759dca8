"""Diagnose a data set: which symmetries it suffers from, and whether they are broken."""
