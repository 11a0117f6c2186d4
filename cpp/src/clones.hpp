#pragma once

// MLIUQ_CLONES before a function: GCC builds it for several instruction sets and picks one when the library is loaded.
// For plain loops that are hot but need no hand-made vector code.
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && \
    !defined(MLIUQ_SANITIZE)
#define MLIUQ_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MLIUQ_CLONES
#endif
