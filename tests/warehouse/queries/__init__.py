"""Tests of the read statements."""
