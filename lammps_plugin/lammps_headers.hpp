// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// LAMMPS's classes live in liblammps: everything declared in its headers keeps default visibility, whatever this
// plugin is compiled with.
#pragma GCC visibility push(default)
#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "input.h"
#include "memory.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "timer.h"
#include "universe.h"
#include "update.h"
#include "variable.h"
#pragma GCC visibility pop

// A plugin compiled for other integer sizes than LAMMPS's would read its arrays wrongly without any warning.
#if defined(LAMMPS_BIGBIG) == defined(LAMMPS_SMALLBIG)
#error "define exactly one of LAMMPS_SMALLBIG and LAMMPS_BIGBIG, as the LAMMPS that will load this plugin was built"
#endif
