"""Instructions of every stage of the kernel, counted as they are executed, and the fewest cycles they take elsewhere.

    cmake -S . -B build/bench -DMLIUQ_BUILD_BENCHMARKS=ON … && cmake --build build/bench --target count_instructions
    python benchmarks/instructions.py build/bench/cpp/benchmarks/count_instructions [2J [avx512 [polynomial]]]

For a processor that is not at hand: what its units for arithmetic, loads and stores need at least for one block of
atoms (as many as a register has lanes, 26 neighbours each), each alone. Throughputs per cycle are those of the makers'
optimisation manuals for vectors of that width; a cache that does not answer in time or a queue that fills comes on top.

For ARM the program is built by a cross compiler (`make test-arm` shows how) and run by an emulator that logs every
instruction (some 30 million lines, a minute or two):

    QEMU_CPU=max,sve-default-vector-length=32 python benchmarks/instructions.py \\
        build/arm/cpp/benchmarks/count_instructions 8 sve256 --emulator "qemu-aarch64 -L /usr/aarch64-linux-gnu"
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Processor:
    """Vector instructions a cycle: products (multiply-adds too), additions of their own, all arithmetic, memory."""

    name: str
    products: float
    arithmetic: float
    loads: float
    stores: float

    def bounds(self, kinds: Counter[str]) -> dict[str, float]:
        """Cycles that each kind of unit needs."""
        products = kinds["fma"] + kinds["mul"]
        return {
            "arithmetic": max(products / self.products, (products + kinds["add"]) / self.arithmetic),
            "loads": kinds["load"] / self.loads,
            "stores": kinds["store"] / self.stores,
        }


PROCESSORS = {
    "avx512": (
        Processor("Intel Xeon, Ice Lake and later", products=2, arithmetic=2, loads=2, stores=1),
        Processor("AMD Zen 4", products=1, arithmetic=2, loads=1, stores=0.5),
        Processor("AMD Zen 5", products=2, arithmetic=4, loads=2, stores=1),
    ),
    "avx2": (
        Processor("Intel, Haswell to Cascade Lake", products=2, arithmetic=2, loads=2, stores=1),
        Processor("AMD Zen 3 and 4", products=2, arithmetic=4, loads=2, stores=1),
    ),
}


STAGES = ("geometry", "density", "expand", "couple", "ladder", "force", "store", "derive")


def kind_on_arm(mnemonic: str, operands: str) -> tuple[str | None, str | None]:
    """As kind(), of AArch64; a pair of registers is one load."""
    arithmetic = None
    if re.match(r"[zv]\d+\.2?d", operands):  # vectors of doubles
        if re.match(r"fn?ml[as]$|fn?m(ad|sb)$", mnemonic):
            arithmetic = "fma"
        elif mnemonic in ("fmul", "fadd", "fsub"):
            arithmetic = "mul" if mnemonic == "fmul" else "add"
    memory = {"ld": "load", "st": "store"}.get(mnemonic[:2]) if "[" in operands else None
    return arithmetic, memory


def kind(mnemonic: str, operands: str) -> tuple[str | None, str | None]:
    """Arithmetic of an instruction (fma, mul, add), and what it does to memory (load, store); AT&T order."""
    arithmetic = None
    if re.match(r"vfn?m(add|sub)\d+pd", mnemonic):
        arithmetic = "fma"
    elif mnemonic == "vmulpd":
        arithmetic = "mul"
    elif mnemonic in ("vaddpd", "vsubpd"):
        arithmetic = "add"
    if "(" not in operands or mnemonic.startswith(("lea", "nop", "prefetch", "cs", "data16", "jmp", "call")):
        return arithmetic, None
    to_memory = mnemonic.startswith(("mov", "vmov")) and operands.rstrip().endswith(")")
    return arithmetic, "store" if to_memory else "load"


def executed(command: list[str]) -> Iterator[tuple[str, int, int]]:
    """Stage, address and count of every instruction, from a program that steps through itself."""
    counted = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    places: dict[str, int] = {}
    for line in counted.splitlines():
        stage, address, *count = line.split()
        if count:
            yield stage, int(address, 16) - places["base"], int(count[0])
        else:
            places[stage] = int(address, 16)


def executed_under(emulator: list[str], command: list[str]) -> Iterator[tuple[str, int, int]]:
    """As executed(), from QEMU's log of a program that does not: a block of translated code for every instruction."""
    printed = subprocess.run([*emulator, *command], check=True, capture_output=True, text=True).stdout
    places = {name: int(address, 16) for name, address in map(str.split, printed.splitlines())}
    base, marked = places["base"], f"{places['mark']:016x}"  # where it lies the next time, too: marks are counted below
    logging = [*emulator, "-singlestep", "-d", "exec,nochain", *command]
    run = subprocess.Popen(logging, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    counts: list[Counter[str]] = [Counter()]  # before the first mark, then of each stage
    for line in run.stderr:
        if not line.startswith("Trace"):
            continue
        address = line.split("/", 2)[1]
        if address == marked:
            counts.append(Counter())
        elif len(counts) > 1:
            counts[-1][address] += 1
    if run.wait() != 0 or len(counts) != len(STAGES) + 2:
        raise SystemExit(f"{shlex.join(emulator)}: exit status {run.returncode}, {len(counts) - 1} marks in its log")
    for stage, count in zip(STAGES, counts[1:-1], strict=True):
        for address, n in count.items():
            yield stage, int(address, 16) - base, n


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("program", help="count_instructions of a build with MLIUQ_BUILD_BENCHMARKS")
    parser.add_argument("twojmax", nargs="?", default="8")
    parser.add_argument("instruction_set", nargs="?", default="avx512")
    parser.add_argument("plan", nargs="?", default="polynomial", choices=("polynomial", "recursion"))
    parser.add_argument("--emulator", type=shlex.split, help="of ARM: a command that runs the program")
    options = parser.parse_args()
    twojmax, isa, plan = options.twojmax, options.instruction_set, options.plan
    command = [options.program, twojmax, isa, plan]
    objdump = "aarch64-linux-gnu-objdump" if options.emulator else "objdump"
    listing = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", options.program], check=True, capture_output=True, text=True
    )
    code: dict[int, tuple[str, str]] = {}
    for line in listing.stdout.splitlines():
        if found := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*([^#<]*)", line):
            code[int(found[1], 16)] = (found[2], found[3])
    stages = defaultdict[str, Counter[str]](Counter)
    kind_of = kind_on_arm if options.emulator else kind
    for stage, place, count in executed_under(options.emulator, command) if options.emulator else executed(command):
        instruction = code.get(place)
        if instruction is None:  # of the C library
            continue
        stages[stage]["all"] += count
        for what in kind_of(*instruction):
            if what is not None:
                stages[stage][what] += count
    processors = PROCESSORS.get(isa, ())
    columns = ("all", "fma", "mul", "add", "load", "store")
    print(f"2J = {twojmax}, {isa}, {plan}: instructions of a block")
    print("| stage | " + " | ".join(columns) + " |" + "".join(f" {p.name}: cycles |" for p in processors))
    print("|---" * (1 + len(columns) + len(processors)) + "|")
    for stage, kinds in stages.items():
        cells = [str(kinds[c]) for c in columns]
        for processor in processors:
            bounds = processor.bounds(kinds)
            worst = max(bounds, key=lambda unit: bounds[unit])
            cells.append(f"{bounds[worst]:.0f} ({worst})")
        print(f"| {stage} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
