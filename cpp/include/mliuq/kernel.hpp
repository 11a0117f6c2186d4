#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mliuq/aligned.hpp"
#include "mliuq/energy_model.hpp"
#include "mliuq/neighbourhood.hpp"
#include "mliuq/snap_params.hpp"

namespace mliuq {

/// Where a kernel puts what it computes for a run of centres. Null: not wanted (and not paid for).
/// Voigt order everywhere in the core: xx yy zz yz xz xy.
struct KernelOutput {
  double* energies = nullptr;      ///< [n_centres], eV, overwritten
  double* B = nullptr;             ///< [n_centres][K], overwritten
  double* forces = nullptr;        ///< [n_atoms][3], eV/Å, added to (images too: the caller folds them back)
  double* virial = nullptr;        ///< [6], eV, −dE/dstrain, added to
  double* atom_virials = nullptr;  ///< [n_atoms][6], eV, half of each pair to either end, added to
};

/// Rows of atoms from which ∂B/∂r of each neighbour is subtracted as soon as it is known.
struct GradientRows {
  const int* row_of_atom = nullptr;  ///< [n_atoms], −1: has none
  double* rows = nullptr;            ///< [row][3][stride], from column of_element[species of the centre] on
  std::size_t stride = 0;
  const std::size_t* of_element = nullptr;
};

/// Numbers from one row (1, B_1 … B_K) of an atom to the next: whole lines of the cache.
static constexpr std::size_t padded_row(std::size_t K) { return (1 + K + 7) / 8 * 8; }

/// Derivatives of the descriptors of a run of centres, one entry per neighbour inside the cutoff. Those of (1, B) lie
/// in rows of padded_row(K) numbers: the constant's, which is zero, the components', and zeros.
struct GradientBlock {
  // What the caller wants.
  bool with_B = true, with_strain = false;
  GradientRows subtracted_from;  ///< with rows, first, neighbour and dB say nothing: no pair is kept

  std::vector<double> B;        ///< [n_centres][K]
  std::vector<int> first;       ///< [n_centres + 1], range of pairs of each centre
  std::vector<int> neighbour;   ///< [n_pairs], atom index
  AlignedVector<double> dB;     ///< [n_pairs][3][padded_row(K)], ∂B_k(centre)/∂r(neighbour), 1/Å
  AlignedVector<double> total;  ///< [n_centres][3][padded_row(K)], Σ over neighbours; the centre's own is minus this
  std::vector<double> strain;   ///< [n_centres][6][K], ∂B_k(centre)/∂strain = Σ (r_j − r_i) ⊗ ∂B_k/∂r_j, Voigt
};

/// How sums over neighbours are made, the density and the forces: by the recursion through all levels, or by moments
/// and polynomials of the two highest degrees. Results agree to rounding (1e-12).
enum class KernelPlan { recursion, polynomial };

/// Scratch memory of one thread, reused from call to call. Each kernel derives its own.
class Workspace {
 public:
  virtual ~Workspace() = default;
};

/// The hot loops behind one interface. Immutable after construction and free of threads: callers run chunks of
/// centres in parallel, each thread with a Workspace and accumulators of its own. Centres of species −1 are the
/// caller's mistake.
class Kernel {
 public:
  virtual ~Kernel() = default;

  /// What is running: "reference", "avx512 double polynomial", …
  virtual std::string name() const = 0;
  /// How it sums over neighbours; none for the plain kernel, which has one way only.
  virtual std::optional<KernelPlan> plan() const { return std::nullopt; }
  virtual std::unique_ptr<Workspace> make_workspace() const = 0;
  virtual void evaluate(const Neighbourhood& atoms, std::span<const int> centres, const KernelOutput& out,
                        Workspace& workspace) const = 0;
  /// Forces and virials of an energy of which ∂e/∂B is given for every centre, beta [n_centres][K], eV: what weights
  /// other than the model's make of ∂B/∂r, which is never stored. Energies and B of `out` are left alone.
  virtual void contract(const Neighbourhood& atoms, std::span<const int> centres, const double* beta,
                        const KernelOutput& out, Workspace& workspace) const = 0;
  virtual void gradients(const Neighbourhood& atoms, std::span<const int> centres, GradientBlock& out,
                         Workspace& workspace) const = 0;
};

/// A build holds those of its architecture: avx2 and avx512, or sve256 and sve512, which are for processors whose SVE
/// registers have exactly 256 or 512 bits; `baseline` is SSE2 or NEON.
enum class InstructionSet { reference, baseline, avx2, avx512, sve256, sve512 };
enum class Precision { double_precision, single_precision };

/// Which kernel to build. `automatic()` takes the widest instruction set of this machine unless the environment
/// variable MLIUQ_KERNEL (reference, baseline, avx2, avx512, sve256, sve512) says otherwise.
struct KernelChoice {
  InstructionSet instruction_set = InstructionSet::reference;
  Precision precision = Precision::double_precision;
  /// None: what the environment variable MLIUQ_PLAN (recursion, polynomial) says, or else by twojmax alone, so that
  /// every run sums alike. MLIUQ_PLAN=measured: the one that a short measurement finds faster on this machine, once for
  /// each instruction set, precision and twojmax of a process.
  std::optional<KernelPlan> plan = std::nullopt;
  bool measure_plan = false;

  /// Throws Error when MLIUQ_KERNEL names something unknown or something this machine cannot run.
  static KernelChoice automatic(Precision precision = Precision::double_precision);
};

std::string_view to_string(InstructionSet set);
std::string_view to_string(KernelPlan plan);

/// Instruction sets this build holds and this machine runs, narrowest first; always begins with `reference`.
std::vector<InstructionSet> available_instruction_sets();

/// Both arguments are copied into the kernel. Throws Error on invalid parameters or weights of another shape, and when
/// MLIUQ_PLAN names something unknown.
std::unique_ptr<Kernel> make_kernel(const SnapParams& params, const EnergyModel& model, KernelChoice choice);

}  // namespace mliuq
