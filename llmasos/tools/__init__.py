"""Measurements and checks of this machine (`bench`, `doctor`, `quantize`), and tools for making models."""
