"""Devices to plan for: what their makers state of them. docs/scale.md has the table's sources."""

from __future__ import annotations

from dataclasses import dataclass

from pretrial.errors import UserError, nearest


@dataclass(frozen=True)
class Device:
    """One accelerator, as its data sheet has it, and the node that it usually stands in.

    Attributes:
        memory: bytes.
        fp32: FLOP/s of products in fp32, not TF32, which torch does not use unless asked.
        bf16: FLOP/s of products in bf16, without sparsity.
        bandwidth: bytes/s of its memory.
        link: bytes/s from it to another in the same node, one way: half of what data sheets state.
        network: bytes/s that it has of its node's network, one way (assumed).
    """

    memory: float
    fp32: float
    bf16: float
    bandwidth: float
    link: float
    network: float


DEVICES = {
    "l4": Device(24e9, 30.3e12, 121e12, 0.300e12, 32e9, 1.5625e9),
    "a100-40gb": Device(40e9, 19.5e12, 312e12, 1.555e12, 300e9, 25e9),
    "l40s": Device(48e9, 91.6e12, 362e12, 0.864e12, 32e9, 6.25e9),
    "a100-80gb": Device(80e9, 19.5e12, 312e12, 2.039e12, 300e9, 25e9),
    "h100": Device(80e9, 67e12, 989e12, 3.35e12, 450e9, 50e9),
    "h200": Device(141e9, 67e12, 989e12, 4.8e12, 450e9, 50e9),
}


@dataclass(frozen=True)
class Machine:
    """The devices of a planned run, all alike.

    Attributes:
        name: of the device.
        device: one of them.
        gpus: all of them.
        nodes: that they stand in, equally many in each.
        utilisation: share of a device's peak that its products reach (assumed).
    """

    name: str
    device: Device
    gpus: int
    nodes: int
    utilisation: float = 0.4

    @classmethod
    def of(cls, name: str, gpus: int, nodes: int, utilisation: float) -> Machine:
        """The machine that a user asks for.

        Raises:
            UserError: the device is not known, or the numbers do not go together.
        """
        if name not in DEVICES:
            near = nearest(name, DEVICES)
            raise UserError(f"there are no figures of the device {name!r}; the nearest: {near}")
        if nodes < 1 or gpus < 1 or gpus % nodes:
            raise UserError(
                f"{gpus} GPUs cannot stand in {nodes} equal nodes: give --gpus, the number of all"
                " of them, as a multiple of --nodes"
            )
        if not 0 < utilisation <= 1:
            raise UserError(f"--utilisation is above 0 and at most 1, not {utilisation:g}")
        return cls(name, DEVICES[name], gpus, nodes, utilisation)

    @property
    def each(self) -> int:
        """Devices of a node."""
        return self.gpus // self.nodes

    def pass_seconds(self, num_bytes: float) -> float:
        """Of one all-gather or one reduce-scatter of so many bytes over all devices.

        In rings, first inside the nodes, then between devices of the same place in their nodes.
        """
        inside = (self.each - 1) / self.each * num_bytes / self.device.link
        outside = (self.nodes - 1) / self.nodes * num_bytes / self.each / self.device.network
        return inside + outside
