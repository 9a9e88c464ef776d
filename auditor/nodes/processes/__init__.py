"""A node source that shares its work out among worker processes; what comes out is the same as from one."""

from auditor.nodes.processes.count import fitting, usable_cores
from auditor.nodes.processes.source import Processes

__all__ = ["Processes", "fitting", "usable_cores"]
