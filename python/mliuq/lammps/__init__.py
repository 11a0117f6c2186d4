"""The LAMMPS door: where LAMMPS finds the plugin."""

from mliuq.lammps.plugin import PLUGIN_NAME, built_for, installed_lammps, load_mpi, plugin_file, plugin_folder

__all__ = ["PLUGIN_NAME", "built_for", "installed_lammps", "load_mpi", "plugin_file", "plugin_folder"]
