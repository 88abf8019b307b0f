"""Search: many runs of a scenario in lockstep, until one fails; then the least that still does.

* ``job``: one run, as plain data that travels to a worker and back.
* ``coverage``: which orders a run has shown.
* ``search``: which run is next.  Pure.
* ``shrink``: the least of a list that still fails.  Pure.
* ``found``: the scenario file that replays a failure.
* ``workers``: processes of this machine, or Dask's of many.
* ``explore``: all of it together.
* ``strategies``: faults and tapes for tests with hypothesis.
"""
