"""Instructions of every stage of the kernel, counted as they are executed, and the fewest cycles they take elsewhere.

    cmake -S . -B build/bench -DMLIUQ_BUILD_BENCHMARKS=ON … && cmake --build build/bench --target count_instructions
    python benchmarks/instructions.py build/bench/cpp/benchmarks/count_instructions [2J [avx512 [polynomial]]]

For a processor that is not at hand: what its units for arithmetic, loads and stores need at least for one block of
atoms (as many as a register has lanes, 26 neighbours each), each alone. Throughputs per cycle are those of the makers'
optimisation manuals for vectors of that width; a cache that does not answer in time or a queue that fills comes on top.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
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


def main() -> None:
    program, *options = sys.argv[1:]
    twojmax, isa, plan = (options + ["8", "avx512", "polynomial"][len(options) :])[:3]
    counted = subprocess.run([program, twojmax, isa, plan], check=True, capture_output=True, text=True).stdout
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True
    )
    code: dict[int, tuple[str, str]] = {}
    for line in listing.stdout.splitlines():
        if found := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*([^#<]*)", line):
            code[int(found[1], 16)] = (found[2], found[3])
    base, stages = 0, defaultdict[str, Counter[str]](Counter)
    for line in counted.splitlines():
        stage, address, *count = line.split()
        if stage == "base":
            base = int(address, 16)
            continue
        place = int(address, 16)
        instruction = code.get(place - base) or code.get(place)
        if instruction is None:  # of the C library
            continue
        stages[stage]["all"] += int(count[0])
        for what in kind(*instruction):
            if what is not None:
                stages[stage][what] += int(count[0])
    columns = ("all", "fma", "mul", "add", "load", "store")
    print(f"2J = {twojmax}, {isa}, {plan}: instructions of a block")
    print("| stage | " + " | ".join(columns) + " |" + "".join(f" {p.name}: cycles |" for p in PROCESSORS[isa]))
    print("|---" * (1 + len(columns) + len(PROCESSORS[isa])) + "|")
    for stage, kinds in stages.items():
        cells = [str(kinds[c]) for c in columns]
        for processor in PROCESSORS[isa]:
            bounds = processor.bounds(kinds)
            worst = max(bounds, key=lambda unit: bounds[unit])
            cells.append(f"{bounds[worst]:.0f} ({worst})")
        print(f"| {stage} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
