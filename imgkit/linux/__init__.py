"""Kernel interfaces, one file per kernel header; standard library only; every function raises OSError; no policy."""
