"""Peak performance of accelerators, from their vendors' data sheets."""

from dataclasses import dataclass

from llmasos.errors import UserError, nearest

GB = 10**9


@dataclass(frozen=True)
class Device:
    """One accelerator.

    Attributes:
        memory: size of its memory, in bytes.
        flops: peak of 16-bit matrix products with 32-bit accumulation, dense (no sparsity), in FLOP per second.
        bandwidth: between its memory and its cores, in bytes per second.
        link: the bandwidth to the other devices of a machine, in bytes per second in each direction.
    """

    memory: float
    flops: float
    bandwidth: float
    link: float


DEVICES = {
    "v100": Device(32 * GB, 125e12, 900 * GB, 150 * GB),  # SXM2, NVLink 2; fp16
    "tpu-v4": Device(32 * GB, 275e12, 1200 * GB, 150 * GB),
    "a100": Device(80 * GB, 312e12, 2039 * GB, 300 * GB),  # SXM4, NVLink 3
    "h100": Device(80 * GB, 989e12, 3350 * GB, 450 * GB),  # SXM5, NVLink 4
    "h200": Device(141 * GB, 989e12, 4800 * GB, 450 * GB),
    "b200": Device(180 * GB, 2250e12, 8000 * GB, 900 * GB),  # NVLink 5
    "rtx-4090": Device(24 * GB, 165e12, 1008 * GB, 32 * GB),  # PCIe 4.0 x16
}


def find_device(name: str) -> Device:
    """Return the device with this name. Raises UserError if there is none."""
    if name.lower() not in DEVICES:
        raise UserError(
            f"there is no device {name!r} (available: {', '.join(DEVICES)})"
            f"{nearest(name, DEVICES) or '; for another one, give --memory, --peak-flops and --memory-bandwidth.'}"
        )
    return DEVICES[name.lower()]
