"""`mliuq propagate PROPERTY`: properties of materials with error bars."""

from __future__ import annotations

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
