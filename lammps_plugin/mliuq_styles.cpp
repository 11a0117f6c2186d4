// SPDX-License-Identifier: GPL-2.0-only

// Registers every style of the plugin; called by mliuqplugin.so once it knows this LAMMPS.

#include "compute_mliuq.hpp"
#include "compute_mliuq_atom.hpp"
#include "compute_mliuq_committee.hpp"
#include "fix_mliuq_guard.hpp"
#include "fix_mliuq_recall.hpp"
#include "lammps_headers.hpp"
#include "lammpsplugin_api.hpp"
#include "pair_mliuq.hpp"

using LAMMPS_NS::LAMMPS;

namespace {

template <class Style>
void* create_pair(void* lammps) {
  return static_cast<LAMMPS_NS::Pair*>(new Style(static_cast<LAMMPS*>(lammps)));
}

template <class Style>
void* create_compute(void* lammps, int narg, char** arg) {
  return static_cast<LAMMPS_NS::Compute*>(new Style(static_cast<LAMMPS*>(lammps), narg, arg));
}

template <class Style>
void* create_fix(void* lammps, int narg, char** arg) {
  return static_cast<LAMMPS_NS::Fix*>(new Style(static_cast<LAMMPS*>(lammps), narg, arg));
}

}  // namespace

void mliuq_register_styles(void* lammps, void* handle, void* register_function) {
  auto* const register_style = reinterpret_cast<lammpsplugin_regfunc>(register_function);
  lammpsplugin_t plugin{};
  plugin.version = MLIUQ_LAMMPS_VERSION;
  plugin.author = "the mliuq authors";
  plugin.handle = handle;

  plugin.style = "pair";
  plugin.name = "mliuq";
  plugin.info = "SNAP/qSNAP potential with a POPS posterior";
  plugin.creator.v1 = &create_pair<mliuq_lammps::PairMliuq>;
  register_style(&plugin, lammps);

  plugin.style = "compute";
  plugin.name = "mliuq/atom";
  plugin.info = "uncertainty of the energy of and the force on every atom";
  plugin.creator.v2 = &create_compute<mliuq_lammps::ComputeMliuqAtom>;
  register_style(&plugin, lammps);

  plugin.name = "mliuq";
  plugin.info = "uncertainty of energy, forces and stress of the cell";
  plugin.creator.v2 = &create_compute<mliuq_lammps::ComputeMliuq>;
  register_style(&plugin, lammps);

  plugin.name = "mliuq/committee";
  plugin.info = "energy of the cell by every member";
  plugin.creator.v2 = &create_compute<mliuq_lammps::ComputeMliuqCommittee>;
  register_style(&plugin, lammps);

  plugin.style = "fix";
  plugin.name = "mliuq/recall";
  plugin.info = "uncertainties asked anew after a run";
  plugin.creator.v2 = &create_fix<mliuq_lammps::FixMliuqRecall>;
  register_style(&plugin, lammps);

  plugin.name = "mliuq/guard";
  plugin.info = "saves and stops where the model no longer knows";
  plugin.creator.v2 = &create_fix<mliuq_lammps::FixMliuqGuard>;
  register_style(&plugin, lammps);
}
