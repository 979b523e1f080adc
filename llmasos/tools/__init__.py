"""Measurements and checks of this machine: `bench`, `doctor`, `quantize`."""
