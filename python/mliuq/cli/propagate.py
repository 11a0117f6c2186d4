"""`mliuq propagate PROPERTY`: properties of materials with error bars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mliuq.cli.propagation_run import Compute, Element, Structures, command

PROTOTYPES = (
    "Prototypes: bcc fcc hcp dhcp A15 sigma chi mu C14 C15 C36 omega sc diamond; PROTOTYPE:SYMBOLS puts one element "
    "on each orbit, as C15:TaW."
)
Reference = Annotated[
    str | None, typer.Option(help="Structure that formation energies count from; the best fit's lowest by default.")
]
Relax = Annotated[str, typer.Option(help="all: cell and atoms relax; volume: the given shape is kept.")]
Span = Annotated[float, typer.Option(help="Volumes within ± this share of each member's own.")]
Volumes = Annotated[int, typer.Option("--points", help="Volumes of each equation of state.")]

app = typer.Typer(
    name="propagate",
    help="Properties of materials with error bars: each member of the model computes its own.",
    no_args_is_help=True,
    epilog="Example: mliuq propagate eos W.mliuq bcc fcc -o properties/",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@command(app, f"mliuq propagate eos W.mliuq bcc fcc hcp -o properties/     {PROTOTYPES}")
def eos(
    structures: Structures = None,
    element: Element = None,
    reference: Reference = None,
    relax: Relax = "all",
    span: Span = 0.06,
    points: Volumes = 7,
) -> Compute:
    """Equations of state: energy, volume, bulk modulus and its derivative; formation energies."""
    from mliuq import propagation

    own: dict[str, Any] = {"element": element, "reference": reference, "relax": relax, "span": span, "points": points}
    return lambda model, run: propagation.eos(model, structures or ["bcc", "fcc", "hcp"], **own, **run)


@command(app, f"mliuq propagate phases W.mliuq -o properties/     {PROTOTYPES}")
def phases(
    structures: Structures = None,
    element: Element = None,
    reference: Reference = None,
    relax: Relax = "all",
    span: Span = 0.06,
    points: Volumes = 7,
) -> Compute:
    """Formation energies, volumes and bulk moduli of all phases, and how sure their order is."""
    from mliuq import propagation
    from mliuq.propagation.functions import PHASES

    own: dict[str, Any] = {"element": element, "reference": reference, "relax": relax, "span": span, "points": points}
    return lambda model, run: propagation.phases(model, structures or PHASES, **own, **run)


@command(app, f"mliuq propagate elastic W.mliuq bcc -o properties/     {PROTOTYPES}")
def elastic(
    structures: Structures = None,
    element: Element = None,
    strain: Annotated[float, typer.Option(help="Size of the strains ±.")] = 0.005,
) -> Compute:
    """Elastic constants of any crystal, from the stress of strained, relaxed cells."""
    from mliuq import propagation

    return lambda model, run: propagation.elastic(model, structures or ["bcc"], element=element, strain=strain, **run)


@command(app, "mliuq propagate path W.mliuq bain trigonal -o properties/")
def path(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="bain, trigonal, orthorhombic, hexagonal; all by default.", show_default=False),
    ] = None,
    element: Element = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two structures (same atoms in the same order): straight from one to the other."),
    ] = None,
    points: Annotated[int, typer.Option(help="Points of each path.")] = 41,
) -> Compute:
    """Energy along deformation paths of bcc, and between any two structures."""
    from mliuq import propagation
    from mliuq.propagation.deformation_paths import PATHS
    from mliuq.propagation.functions import named

    def compute(model: Any, run: dict[str, Any]) -> propagation.PropertyResult:
        names = tuple(paths or ()) if between or paths else tuple(PATHS)
        pairs: Any = None
        if between:
            ends = named(between, model, element)
            pairs = {" to ".join(ends): tuple(ends.values())}
        return propagation.path(model, names, between=pairs, element=element, points=points, **run)

    return compute


Host = Annotated[str, typer.Option(help="Crystal: a prototype or a file of its conventional cell.")]
Size = Annotated[int, typer.Option(help="Supercell of size × size × size cells.")]


@command(app, "mliuq propagate phonons W.mliuq bcc --size 4 --members 100 -o properties/")
def phonons(
    structures: Structures = None,
    element: Element = None,
    size: Size = 4,
    displacement: Annotated[float, typer.Option(help="Of the atoms, Å.")] = 0.01,
    points: Annotated[int, typer.Option(help="Wave vectors along the path.")] = 120,
    mesh: Annotated[int, typer.Option(help="Wave vectors of the density of states, mesh × mesh × mesh.")] = 9,
) -> Compute:
    """Phonon bands and densities of states, imaginary modes counted (needs phonopy)."""
    from mliuq import propagation

    own: dict[str, Any] = {"size": size, "displacement": displacement, "points": points, "mesh": mesh}
    return lambda model, run: propagation.phonons(model, structures or ["bcc"], element=element, **own, **run)


@command(app, "mliuq propagate defects W.mliuq vacancy 111 110 --size 3 -o properties/")
def defects(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            help="vacancy divacancy 111 110 100 tetrahedral octahedral crowdion; the vacancy by default.",
            show_default=False,
        ),
    ] = None,
    host: Host = "bcc",
    element: Element = None,
    size: Size = 3,
    volumes: Annotated[bool, typer.Option(help="Formation volumes too.")] = True,
) -> Compute:
    """Formation energies and volumes of vacancies and interstitials."""
    from mliuq import propagation

    own: dict[str, Any] = {"host": host, "element": element, "size": size, "volumes": volumes}
    return lambda model, run: propagation.defects(model, kinds or ["vacancy"], **own, **run)


@command(app, "mliuq propagate surfaces W.mliuq 110 100 111 -o properties/")
def surfaces(
    planes: Annotated[
        list[str] | None, typer.Argument(help="Planes hkl; 110 100 111 by default.", show_default=False)
    ] = None,
    host: Host = "bcc",
    element: Element = None,
    layers: Annotated[int, typer.Option(help="Layers of the slab.")] = 8,
    vacuum: Annotated[float, typer.Option(help="On either side, Å.")] = 6.0,
) -> Compute:
    """Energies of free surfaces, relaxed."""
    from mliuq import propagation

    own: dict[str, Any] = {"host": host, "element": element, "layers": layers, "vacuum": vacuum}
    return lambda model, run: propagation.surfaces(model, planes or ["110", "100", "111"], **own, **run)


@command(app, "mliuq propagate gsf W.mliuq --plane 110 --direction=1-11 -o properties/")
def gsf(
    lattice: Annotated[str, typer.Option(help="bcc or fcc.")] = "bcc",
    plane: Annotated[str, typer.Option(help="Of the fault.")] = "110",
    direction: Annotated[str, typer.Option(help="Of the shift, in the plane.")] = "1-11",
    element: Element = None,
    layers: Annotated[int, typer.Option(help="Repeats of the cell along the normal.")] = 6,
    points: Annotated[int, typer.Option(help="Shifts along one period.")] = 11,
    across: Annotated[int, typer.Option(help="Shifts across; more than 1 for a surface.")] = 1,
) -> Compute:
    """Generalised stacking fault energies: γ line or γ surface."""
    from mliuq import propagation

    own: dict[str, Any] = {"plane": plane, "direction": direction, "element": element, "layers": layers}
    return lambda model, run: propagation.gsf(model, lattice, points=points, across=across, **own, **run)


@command(app, "mliuq propagate neb W.mliuq --vacancy-hop --size 3 -o properties/")
def neb(
    ends: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Files of the two ends, same atoms in the same order.")
    ] = None,
    vacancy_hop: Annotated[bool, typer.Option("--vacancy-hop", help="The hop of a vacancy in --host.")] = False,
    host: Host = "bcc",
    element: Element = None,
    size: Size = 3,
    images: Annotated[int, typer.Option(help="Between the ends.")] = 5,
    path_fmax: Annotated[float, typer.Option(help="Largest force on the path, eV/Å.")] = 0.01,
) -> Compute:
    """Barrier of a minimum energy path, each member's own (ASE's NEB, climbing image)."""
    from mliuq import propagation
    from mliuq.propagation.functions import named

    if (ends is None) == (not vacancy_hop):
        raise typer.BadParameter("expected either --ends FIRST LAST or --vacancy-hop")
    own: dict[str, Any] = {"host": host, "element": element, "size": size, "images": images, "fmax": path_fmax}

    def compute(model: Any, run: dict[str, Any]) -> propagation.PropertyResult:
        pair: Any = None if ends is None else tuple(named([str(end) for end in ends], model, element).values())
        return propagation.neb(model, pair, **own, **run)

    return compute


@command(app, "mliuq propagate custom W.mliuq bcc --function mine:melting_slope -o properties/")
def custom(
    function: Annotated[str, typer.Option(help="module:function, called as function(atoms, calculator) -> dict.")],
    structures: Structures = None,
    element: Element = None,
    relax: Annotated[str, typer.Option(help="What members relax before: cell, atoms or none.")] = "cell",
) -> Compute:
    """Whatever your own function computes of a structure and a calculator."""
    from mliuq import propagation

    own: dict[str, Any] = {"element": element, "relax": relax}
    return lambda model, run: propagation.custom(model, structures or ["bcc"], function, **own, **run)
