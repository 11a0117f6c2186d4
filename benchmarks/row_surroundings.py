"""What surrounds the atoms that rows are about: density of other environments around them, and their group.

    python benchmarks/row_surroundings.py Mo.xyz.gz W.xyz.gz,every=8

prints how far atoms of each class are from the environments of the other classes: the distance that their density
stands for, in units of what is usual among these, median and 90 % quantile over (at most 600) forces of the class.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms
from mliuq.descriptor.bispectrum import descriptors
from mliuq.descriptor.settings import SnapSettings
from mliuq.model.density import EnvironmentDensity
from mliuq.model.environments import SHARE, environments_of
from mliuq.readers import read_structures
from mliuq.regression.rows import FORCE, Floats, Ints, RowTable
from posterior_choices import parse
from posteriors import load

LIMIT = 1000  # environments that a density is made of
ALIKE = 2  # decimals of descriptors, in standard deviations, beyond which environments are the same


@dataclass(frozen=True)
class Surroundings:
    """Rows of a set of one element.

    Attributes
    ----------
    b : (n_atoms, K) descriptors of the atoms of all configurations, one after the other
    first : (n_configurations + 1,) where those of each begin
    atom : (n,) the atom of each row's force, −1 for energies
    config : (n,) configuration of each row
    groups : (n,) of each row: undercoordinated, close pairs, strained, none of these
    """

    GROUPS: ClassVar = 4

    b: Floats
    first: Ints
    atom: Ints
    config: Ints
    groups: Ints

    @classmethod
    def of(cls, structures: Sequence[Atoms], snap: SnapSettings, table: RowTable) -> Surroundings:
        params, found = snap.params(structures), environments_of(structures)
        first = np.concatenate([[0], np.cumsum([len(atoms) for atoms in structures])])
        force, atom = table.kind == FORCE, np.full(len(table), -1)
        _, begin, count = np.unique(table.config[force], return_index=True, return_counts=True)
        atom[force] = (np.arange(int(force.sum())) - np.repeat(begin, count)) // 3 + first[table.config[force]]
        groups = np.full(len(table), cls.GROUPS - 1)
        groups[found.strained[table.config]] = 2
        for index, masks in ((1, found.close), (0, found.undercoordinated)):
            of_atom, of_config = np.concatenate(masks), np.array([mask.mean() >= SHARE for mask in masks])
            groups[np.where(force, of_atom[atom], of_config[table.config])] = index
        b = np.concatenate([descriptors(atoms, params) for atoms in structures])
        return cls(b, first, atom, table.config, groups)

    def group(self, row: Ints) -> Ints:
        return self.groups[row]

    def distance(self, row: Ints, others: Ints) -> Floats:
        """Distance that the density around the atom of a row stands for, over the usual one.

        For energies that of the sparsest atom.  The density is that of environments in the configurations of others.
        """
        rng = np.random.default_rng(0)
        own = np.concatenate([np.arange(self.first[c], self.first[c + 1]) for c in np.unique(self.config[others])])
        own = rng.permutation(own)[: 4 * LIMIT]
        spread = self.b[own].std(axis=0)
        scaled = self.b[own] / np.where(spread > 1e-9 * spread.max(), spread, np.inf)
        _, differing = np.unique(np.round(scaled, ALIKE), axis=0, return_index=True)
        density = EnvironmentDensity(self.b[own[rng.permutation(differing)[:LIMIT]]])
        wanted = [
            np.arange(self.first[c], self.first[c + 1]) if a < 0 else np.array([a])
            for a, c in zip(self.atom[row], self.config[row], strict=True)
        ]
        atoms, index = np.unique(np.concatenate(wanted), return_inverse=True)
        least = np.minimum.reduceat(density(self.b[atoms])[index], np.cumsum([0, *(len(part) for part in wanted[:-1])]))
        return np.asarray(np.exp(-least / density.dimension))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=parse, metavar="FILE[,every=N][,rcut=Å]")
    print("| | class (forces) | distance: median | 90 % quantile |\n|---|---|---|---|")
    for path, extra in parser.parse_args().data:
        snap, every = SnapSettings(twojmax=8, rcut=float(extra.get("rcut", 4.7))), int(extra.get("every", 1))
        rows, labels = load(path, snap, every=every)
        around = Surroundings.of(read_structures(path)[::every], snap, rows.table)
        names, of_config = np.unique(labels, return_inverse=True)
        classes = of_config[rows.table.config]
        for c, name in enumerate(names):
            forces = np.flatnonzero((classes == c) & (rows.table.kind == FORCE))
            some = np.random.default_rng(0).permutation(forces)[:600]
            if some.size:
                found = np.quantile(around.distance(some, np.flatnonzero(classes != c)), [0.5, 0.9])
                print(f"| {path.name.split('.')[0]} | {name} ({len(forces)}) | {found[0]:.2f} | {found[1]:.2f} |")


if __name__ == "__main__":
    main()
