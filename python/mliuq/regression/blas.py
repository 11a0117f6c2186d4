"""How many threads linear algebra is worth."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from threadpoolctl import threadpool_limits

#: Weights up to which sixteen threads are no faster than one: posterior of 496 weights and 8000 rows on 16 idle cores
#: 3.7 s with one thread, 2.0 s with four, 8.0 s with sixteen; of 1000 weights 12.5, 6.5 and 12.5 s; of 1596 weights 41,
#: 20 and 22 s.  On a busy machine, where threads wait for each other, they took forty times the time of one.
SMALL = 1000


def blas_threads(n_weights: int) -> AbstractContextManager[object]:
    """Return a context in which BLAS uses one thread for few weights, and what the environment says for many.

    The number does not depend on how busy the machine is: the last digits of a fit depend on it.
    """
    return threadpool_limits(1, user_api="blas") if n_weights <= SMALL else nullcontext()
